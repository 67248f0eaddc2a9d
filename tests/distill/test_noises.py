"""Synthesised noises: repeatable, level, and each with the character of its name."""

from __future__ import annotations

import numpy as np
import pytest

from distill import noises
from distill.noises import FloatArray, Maker

SAMPLES = 5 * noises.SAMPLE_RATE
MAKERS = sorted(noises.MAKERS.items())


def make(maker: Maker, seed: int, samples: int = SAMPLES) -> FloatArray:
    return maker(np.random.default_rng(seed), samples)


def spectrum(sound: FloatArray) -> FloatArray:
    return np.abs(np.fft.rfft(sound)).astype(np.float32) ** 2


@pytest.mark.parametrize(("name", "maker"), MAKERS)
def test_a_seed_gives_the_same_noise_and_another_seed_another(name: str, maker: Maker) -> None:
    assert np.array_equal(make(maker, 1), make(maker, 1)), name
    assert not np.array_equal(make(maker, 1), make(maker, 2)), name


@pytest.mark.parametrize(("name", "maker"), MAKERS)
def test_level_peak_and_length(name: str, maker: Maker) -> None:
    for seed in range(8):
        for samples in (1600, SAMPLES):
            sound = make(maker, seed, samples)
            assert sound.shape == (samples,)
            assert sound.dtype == np.float32
            assert np.isfinite(sound).all()
            assert np.max(np.abs(sound)) <= 1.0
            level = 20.0 * np.log10(np.std(sound))
            assert -50.0 < level < noises.LEVEL_DBFS + 0.1, (name, seed, level)


def test_hum_lies_on_the_harmonics_of_the_mains() -> None:
    for seed in range(5):
        power = spectrum(make(noises.hum, seed, 4 * noises.SAMPLE_RATE))
        frequency = np.arange(len(power)) / 4.0
        near = [np.abs((frequency + h / 2) % h - h / 2) < 0.02 * frequency + 2 for h in (50, 60)]
        low = frequency < 400
        assert max(power[low & near[0]].sum(), power[low & near[1]].sum()) > 0.9 * power[low].sum()


def test_wind_is_low() -> None:
    for seed in range(5):
        power = spectrum(make(noises.wind, seed))
        assert power[: 1000 * 5].sum() > 0.8 * power.sum()


def test_impulses_stand_out() -> None:
    """Peaks far above the average: the crest factor of steady noise is about 4."""
    crests = []
    for seed in range(12):
        sound = make(noises.impulsive, seed)
        crests.append(np.max(np.abs(sound)) / np.std(sound))
    assert min(crests) > 5.0


def test_colours_differ() -> None:
    shares = []
    for seed in range(20):
        power = spectrum(make(noises.coloured, seed))
        shares.append(power[: len(power) // 8].sum() / power.sum())
    assert min(shares) < 0.1  # blue
    assert max(shares) > 0.95  # brown


def test_a_machine_has_a_rhythm_of_harmonics() -> None:
    """Tonal parts reach far above the noise between them."""
    for seed in range(5):
        power = spectrum(make(noises.machine, seed))[5 * 20 : 5 * 2000]
        assert np.max(power) > 25.0 * np.median(power)  # steady noise: about 13


def test_babble_mixes_voices_and_follows_the_generator() -> None:
    rng = np.random.default_rng(0)
    voices = [rng.standard_normal(20_000).astype(np.float32) for _ in range(3)]
    first = noises.babble(np.random.default_rng(1), 50_000, voices)
    assert np.array_equal(first, noises.babble(np.random.default_rng(1), 50_000, voices))
    assert not np.array_equal(first, noises.babble(np.random.default_rng(2), 50_000, voices))
    assert len(first) == 50_000
