"""Synthesised noises: each maker takes a generator and a length and returns 16 kHz samples.

The parameters of a sound (its colour, speed, resonances) are drawn from the generator too, so two
seeds give two different machines, not two stretches of the same one. Results are float32
``[samples]`` at −26 dBFS RMS (lower where peaks would exceed full scale).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

FloatArray = npt.NDArray[np.float32]
Signal = npt.NDArray[np.floating[Any]]
Gain = Callable[[Signal], Signal]
Maker = Callable[[np.random.Generator, int], FloatArray]

SAMPLE_RATE = 16_000
LEVEL_DBFS = -26.0
BABBLE_VOICES = 7  # at most this many talk at once


def coloured(rng: np.random.Generator, samples: int) -> FloatArray:
    """White, pink, brown or blue noise, or between them, whose level wanders slowly."""
    slope = rng.choice([0.0, 1.0, 2.0, -1.0]) + rng.uniform(-0.3, 0.3)
    sound = _shaped(rng, samples, lambda f: np.maximum(f, 30.0) ** (-slope / 2.0))
    depth = rng.uniform(0.0, 0.6)
    return _finished(sound * np.exp(depth * _wander(rng, samples, rng.uniform(0.3, 3.0))))


def hum(rng: np.random.Generator, samples: int) -> FloatArray:
    """Mains hum: drifting harmonics of 50 or 60 Hz, odd ones stronger, over a faint hiss."""
    mains = rng.choice([50.0, 60.0])
    frequency = mains * (1.0 + 0.004 * _wander(rng, samples, 0.2))
    count = int(rng.integers(8, 40))
    order = np.arange(1, count + 1)
    strength = order ** -rng.uniform(0.4, 1.6) * np.where(order % 2 == 1, 1.0, rng.uniform(0.1, 1))
    sound = _harmonics(rng, frequency, strength * rng.uniform(0.2, 1.0, count))
    hiss = _shaped(rng, samples, lambda f: np.ones_like(f))
    return _finished(_unit(sound) + hiss * 10 ** (rng.uniform(-40.0, -15.0) / 20.0))


def machine(rng: np.random.Generator, samples: int) -> FloatArray:
    """A rotating machine: harmonics coloured by resonances, noise beating with the rotation."""
    rotation = rng.uniform(12.0, 90.0) * (1.0 + rng.uniform(0.0, 0.06) * _wander(rng, samples, 0.5))
    count = int(min(60, 4000.0 // rotation.mean()))
    frequencies = rotation.mean() * np.arange(1, count + 1)
    resonances = _resonance_gain(rng, frequencies, int(rng.integers(2, 5)))
    strength = resonances * frequencies ** -rng.uniform(0.2, 0.9) * rng.uniform(0.1, 1.0, count)
    tone = _unit(_harmonics(rng, rotation, strength))
    centre, width = rng.uniform(300.0, 3000.0), rng.uniform(0.4, 1.2)
    air = _shaped(rng, samples, lambda f: np.exp(-0.5 * (np.log((f + 1.0) / centre) / width) ** 2))
    beat = 1.0 + rng.uniform(0.2, 0.9) * np.sin(_phase(rotation * rng.integers(1, 4)))
    sound = tone + _unit(air * beat) * rng.uniform(0.3, 1.5)
    return _finished(sound * np.exp(0.15 * _wander(rng, samples, 1.0)))


def impulsive(rng: np.random.Generator, samples: int) -> FloatArray:
    """Clicks, knocks or typing: short damped resonances at irregular times over a faint floor."""
    kind = rng.choice(["clicks", "knocks", "typing"])
    rate, low, high, decay = {
        "clicks": (rng.uniform(3.0, 12.0), 1500.0, 7000.0, 0.004),
        "knocks": (rng.uniform(1.2, 4.0), 90.0, 900.0, 0.05),
        "typing": (rng.uniform(4.0, 9.0), 500.0, 5000.0, 0.012),
    }[str(kind)]
    count = max(1, int(rate * samples / SAMPLE_RATE))
    onsets = _onsets(rng, count, samples)
    loudness = 10.0 ** (rng.uniform(-12.0, 0.0, count) / 20.0)
    variant = rng.integers(3, size=count)  # a few different keys or places to knock
    sound = np.zeros(samples)
    for number in range(3):
        train = np.zeros(samples)
        chosen = variant == number
        np.add.at(train, onsets[chosen], loudness[chosen])
        if kind == "typing":  # a key is heard twice: pressed, and released more softly
            released = onsets[chosen] + int(rng.uniform(0.06, 0.12) * SAMPLE_RATE)
            np.add.at(train, np.minimum(released, samples - 1), 0.4 * loudness[chosen])
        sound += fftconvolve(train, _knock(rng, low, high, decay))[:samples]
    floor = _shaped(rng, samples, lambda f: np.maximum(f, 50.0) ** -0.5)
    return _finished(_unit(sound) + floor * 10 ** (rng.uniform(-45.0, -25.0) / 20.0))


def wind(rng: np.random.Generator, samples: int) -> FloatArray:
    """Wind on a microphone: low-frequency turbulence in gusts, brighter when it blows harder."""
    gust = _wander(rng, samples, rng.uniform(0.3, 1.2)) * rng.uniform(0.5, 1.0)
    corner = rng.uniform(60.0, 250.0)
    rumble = _shaped(rng, samples, lambda f: 1.0 / (1.0 + (f / corner) ** 2))
    rush = _shaped(rng, samples, lambda f: 1.0 / (1.0 + (f / (6.0 * corner)) ** 2))
    whistle_at = rng.uniform(300.0, 1200.0)
    whistle = _shaped(rng, samples, lambda f: np.exp(-0.5 * ((f - whistle_at) / 40.0) ** 2))
    sound = rumble * np.exp(gust) + 0.4 * rush * np.exp(2.0 * gust)
    return _finished(sound + rng.uniform(0.0, 0.15) * whistle * np.exp(2.5 * gust))


def babble(rng: np.random.Generator, samples: int, voices: Sequence[FloatArray]) -> FloatArray:
    """Four to seven voices at once, each read from a random place of ``voices``, going round."""
    sound = np.zeros(samples)
    order = rng.permutation(len(voices))
    for position in range(int(rng.integers(4, BABBLE_VOICES + 1))):
        voice = voices[int(order[position % len(order)])].astype(np.float64)
        start = int(rng.integers(len(voice)))
        taken = np.take(voice, np.arange(start, start + samples), mode="wrap")
        sound += _unit(taken) * 10.0 ** (rng.uniform(-8.0, 0.0) / 20.0)
    return _finished(sound)


MAKERS: dict[str, Maker] = {
    "coloured": coloured,
    "hum": hum,
    "machine": machine,
    "impulsive": impulsive,
    "wind": wind,
}


def _unit(sound: Signal) -> Signal:
    """Scaled to an RMS of 1 (silence stays silence)."""
    power = float(np.mean(sound**2))
    return sound / np.sqrt(power) if power > 0.0 else sound


def _finished(sound: Signal) -> FloatArray:
    level = _unit(sound - sound.mean()) * 10.0 ** (LEVEL_DBFS / 20.0)
    peak = float(np.max(np.abs(level), initial=0.0))
    return (level * min(1.0, 0.99 / peak) if peak > 0.0 else level).astype(np.float32)


def _shaped(rng: np.random.Generator, samples: int, gain: Gain) -> Signal:
    """Gaussian noise of unit RMS whose amplitude spectrum follows ``gain(frequency in Hz)``."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum *= gain(np.fft.rfftfreq(samples, 1.0 / SAMPLE_RATE))
    spectrum[0] = 0.0
    return _unit(np.fft.irfft(spectrum, samples))


def _wander(rng: np.random.Generator, samples: int, rate: float) -> Signal:
    """A slow random walk around 0 with a standard deviation of 1, turning about ``rate``/s."""
    knots = max(4, int(np.ceil(samples / SAMPLE_RATE * rate)) + 3)
    heights = rng.standard_normal(knots)
    at = np.linspace(0.0, knots - 1.0, samples)
    left = np.minimum(at.astype(np.int64), knots - 2)
    ease = 0.5 - 0.5 * np.cos(np.pi * (at - left))
    return heights[left] * (1.0 - ease) + heights[left + 1] * ease


def _phase(frequency: Signal) -> Signal:
    return 2.0 * np.pi * np.cumsum(frequency) / SAMPLE_RATE


def _harmonics(rng: np.random.Generator, fundamental: Signal, strength: Signal) -> Signal:
    """Sum of harmonics of a drifting fundamental ``[samples]``, phases drawn at random.

    Powers of one complex rotation by repeated multiplication: one sine in all, not one for each.
    """
    rotation = np.exp(1j * _phase(fundamental))
    power = np.ones_like(rotation)
    sound = np.zeros(len(fundamental))
    for amplitude, offset in zip(
        strength, rng.uniform(0.0, 2.0 * np.pi, len(strength)), strict=True
    ):
        power *= rotation
        sound += amplitude * (np.cos(offset) * power.real - np.sin(offset) * power.imag)
    return sound


def _resonance_gain(rng: np.random.Generator, frequencies: Signal, count: int) -> Signal:
    centres = np.exp(rng.uniform(np.log(100.0), np.log(3000.0), count))[:, None]
    widths = rng.uniform(0.1, 0.5, count)[:, None]
    bumps = np.exp(-0.5 * (np.log(frequencies / centres) / widths) ** 2)
    return 0.1 + bumps.sum(axis=0)


def _onsets(rng: np.random.Generator, count: int, samples: int) -> npt.NDArray[np.int64]:
    """Times of events: gaps from nearly regular to quite irregular."""
    gaps = rng.gamma(rng.uniform(1.5, 12.0), size=count + 1)
    times = np.cumsum(gaps)[:-1] / gaps.sum()
    return (times * (samples - 1)).astype(np.int64)


def _knock(rng: np.random.Generator, low: float, high: float, decay: float) -> Signal:
    """One event: a few damped resonances and a burst of noise at the onset."""
    time = np.arange(int(12.0 * decay * SAMPLE_RATE)) / SAMPLE_RATE
    sound = 0.3 * rng.standard_normal(len(time)) * np.exp(-time / (0.3 * decay))
    for _ in range(int(rng.integers(2, 5))):
        frequency = np.exp(rng.uniform(np.log(low), np.log(high)))
        damping = np.exp(-time / (decay * rng.uniform(0.5, 2.0)))
        sound += rng.uniform(0.3, 1.0) * np.sin(2.0 * np.pi * frequency * time) * damping
    return sound
