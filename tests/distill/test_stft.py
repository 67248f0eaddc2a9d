"""The STFT contract in numpy and torch against golden spectra, and perfect reconstruction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill import stft as torch_stft
from runtime import stft

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "spectra.npz")
CONTRACT = stft.StftContract()


def level_db(error: np.ndarray, signal: np.ndarray) -> float:
    ratio = np.mean(np.square(error)) / np.mean(np.square(signal))
    return float(10 * np.log10(max(ratio, 1e-20)))


def test_numpy_matches_the_golden_spectra() -> None:
    spectra = stft.analyse(CONTRACT, GOLDEN["signal"])
    assert np.abs(spectra - GOLDEN["spectra"]).max() < 1e-5
    magnitude = stft.features(CONTRACT, spectra)[..., 0]
    audible = GOLDEN["compressed"] > 0.1
    assert np.abs(magnitude - GOLDEN["compressed"])[audible].max() < 1e-3


def test_torch_matches_the_golden_spectra() -> None:
    spectra = torch_stft.analyse(CONTRACT, torch.from_numpy(GOLDEN["signal"])[None])[0].numpy()
    assert np.abs(spectra - GOLDEN["spectra"]).max() < 1e-5


def test_torch_features_and_mask_equal_numpy() -> None:
    spectra = stft.analyse(CONTRACT, GOLDEN["signal"])
    mask = np.random.default_rng(0).uniform(-1, 1, (len(spectra), 256, 2)).astype(np.float32)
    tensor = torch.from_numpy(spectra)[None]
    features = torch_stft.features(CONTRACT, tensor)[0].permute(1, 2, 0).numpy()
    assert np.abs(features - stft.features(CONTRACT, spectra)).max() < 1e-5
    masked = torch_stft.apply_mask(CONTRACT, tensor, torch.from_numpy(mask).permute(2, 0, 1)[None])
    assert np.abs(masked[0].numpy() - stft.apply_mask(CONTRACT, spectra, mask)).max() < 1e-5


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 5000), seed=st.integers(0, 9))
def test_reconstruction_is_perfect_within_minus_100_db(samples: int, seed: int) -> None:
    signal = np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
    whole = stft.synthesise(CONTRACT, stft.analyse(CONTRACT, signal), samples)
    tensor = torch.from_numpy(signal)[None]
    torched = torch_stft.synthesise(CONTRACT, torch_stft.analyse(CONTRACT, tensor), samples)
    assert level_db(whole - signal, signal) < -100
    assert level_db(torched[0].numpy() - signal, signal) < -100


@settings(max_examples=15, deadline=None)
@given(blocks=st.integers(1, 12), seed=st.integers(0, 9))
def test_streaming_equals_the_whole_signal_and_trails_by_the_output_delay(
    blocks: int, seed: int
) -> None:
    signal = np.random.default_rng(seed).normal(0, 0.1, blocks * 256).astype(np.float32)
    analyser = stft.StreamingAnalyser(CONTRACT)
    synthesiser = stft.StreamingSynthesiser(CONTRACT)
    padded = np.concatenate([signal, np.zeros(256, dtype=np.float32)]).reshape(-1, 256)
    spectra = np.stack([analyser.push(block) for block in padded])
    assert np.abs(spectra - stft.analyse(CONTRACT, signal)).max() < 1e-6
    out = np.concatenate([synthesiser.push(spectrum) for spectrum in spectra])
    assert level_db(out[CONTRACT.output_delay :] - signal, signal) < -100


def test_a_wrong_window_is_seen_by_the_golden_spectra() -> None:
    symmetric = np.sqrt(np.hanning(512)).astype(np.float32)
    wrong = np.fft.rfft(symmetric * np.pad(GOLDEN["signal"], (256, 0))[:512]) / 16
    assert np.abs(wrong - GOLDEN["spectra"][0]).max() > 1e-3


def test_the_attenuation_limit_of_zero_db_passes_the_input() -> None:
    spectra = stft.analyse(CONTRACT, GOLDEN["signal"])
    mask = np.zeros((len(spectra), 256, 2), dtype=np.float32)
    assert np.array_equal(stft.apply_mask(CONTRACT, spectra, mask, floor=1.0), spectra)


def test_a_contract_that_cannot_reconstruct_is_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        stft.StftContract(hop=100)
