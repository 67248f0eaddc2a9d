"""The STFT in numpy, hop by hop and in torch against golden spectra; perfect reconstruction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill import stft as torch_stft
from runtime import stft
from runtime.stft import CONTRACTS, StftContract
from tests.golden import make_spectra
from tests.runtime.contracts import ANY

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "spectra.npz")
SIGNAL = GOLDEN["signal"]
NAMES = pytest.mark.parametrize("name", CONTRACTS)


def channels(mask: np.ndarray) -> np.ndarray:
    """``[frames, bins, 2]`` of a complex mask."""
    return np.stack((mask.real, mask.imag), axis=-1).astype(np.float32)


def golden_mask(contract: StftContract) -> np.ndarray:
    return channels(make_spectra.mask(contract.frames(len(SIGNAL)), contract.bins))


def hop_by_hop(contract: StftContract, signal: np.ndarray) -> np.ndarray:
    analyser = stft.StreamingAnalyser(contract)
    padded = np.zeros(contract.frames(len(signal)) * contract.hop, dtype=np.float32)
    padded[: len(signal)] = signal
    return np.stack([analyser.push(hop) for hop in padded.reshape(-1, contract.hop)])


def noise(samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def relative(error: np.ndarray, signal: np.ndarray) -> float:
    return float(np.abs(error).max() / np.abs(signal).max())


@NAMES
def test_spectra_are_the_golden_ones(name: str) -> None:
    contract, golden = CONTRACTS[name], GOLDEN[f"{name}_spectra"]
    torched = torch_stft.analyse(contract, torch.from_numpy(SIGNAL)[None])[0].numpy()
    for spectra in (stft.analyse(contract, SIGNAL), hop_by_hop(contract, SIGNAL), torched):
        assert spectra.shape == golden.shape
        assert np.abs(spectra - golden).max() < 1e-5


@NAMES
def test_masked_signals_are_the_golden_ones(name: str) -> None:
    contract, golden = CONTRACTS[name], GOLDEN[f"{name}_masked"]
    mask = golden_mask(contract)
    masked = stft.apply_mask(contract, GOLDEN[f"{name}_spectra"], mask)
    assert np.abs(stft.synthesise(contract, masked, len(SIGNAL)) - golden).max() < 1e-6
    synthesiser = stft.StreamingSynthesiser(contract)
    live = np.concatenate([synthesiser.push(spectrum) for spectrum in masked])
    assert np.abs(live[contract.output_delay :][: len(SIGNAL)] - golden).max() < 1e-6
    tensor = torch.from_numpy(mask).permute(2, 0, 1)[None]
    spectra = torch.from_numpy(GOLDEN[f"{name}_spectra"])[None]
    torched = torch_stft.apply_mask(contract, spectra, tensor)
    assert np.abs(torched[0].numpy() - masked).max() < 1e-6
    signal = torch_stft.synthesise(contract, torched, len(SIGNAL))[0].numpy()
    assert np.abs(signal - golden).max() < 1e-6


@NAMES
def test_features_follow_from_the_golden_spectra(name: str) -> None:
    contract, golden = CONTRACTS[name], GOLDEN[f"{name}_spectra"]
    features = stft.features(contract, golden)
    kept = golden[:, : contract.bins].astype(np.complex128)
    magnitude = np.abs(kept)
    audible = magnitude > 1e-4
    expected = np.stack((magnitude, kept.real, kept.imag), axis=-1)[audible]
    expected *= magnitude[audible][:, None] ** (0.3 - 1.0)
    assert np.abs(features[audible] - expected).max() < 1e-3
    torched = torch_stft.features(contract, torch.from_numpy(golden)[None])
    assert np.abs(torched[0].permute(1, 2, 0).numpy() - features).max() < 1e-5


def test_a_wrong_window_is_seen_by_the_golden_spectra() -> None:
    symmetric = np.sqrt(np.hanning(512)).astype(np.float32)
    wrong = np.fft.rfft(symmetric * np.pad(SIGNAL, (256, 0))[:512]) / 16
    assert np.abs(wrong - GOLDEN["phone_spectra"][0]).max() > 1e-3


@settings(max_examples=60, deadline=None)
@given(contract=ANY, samples=st.integers(1, 3000), seed=st.integers(0, 9))
def test_every_contract_reconstructs_perfectly(
    contract: StftContract, samples: int, seed: int
) -> None:
    signal = noise(samples, seed)
    spectra = stft.analyse(contract, signal)
    assert spectra.shape == (contract.frames(samples), contract.frequencies)
    assert relative(stft.synthesise(contract, spectra, samples) - signal, signal) < 1e-5
    tensor = torch.from_numpy(signal)[None]
    torched = torch_stft.analyse(contract, tensor)
    assert np.abs(torched[0].numpy() - spectra).max() < 1e-5
    back = torch_stft.synthesise(contract, torched, samples)[0].numpy()
    assert relative(back - signal, signal) < 1e-5


@settings(max_examples=40, deadline=None)
@given(contract=ANY, counts=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_hops_one_by_one_and_in_any_groups_give_the_same_bits(
    contract: StftContract, counts: list[int]
) -> None:
    hops = noise(sum(counts) * contract.hop, 3).reshape(-1, contract.hop)
    one, many = (
        (stft.StreamingAnalyser(contract), stft.StreamingSynthesiser(contract)) for _ in range(2)
    )
    single = np.concatenate([one[1].push(one[0].push(hop)) for hop in hops])
    groups = np.split(hops, np.cumsum(counts)[:-1])
    grouped = [many[1].push_many(many[0].push_many(group.reshape(-1))) for group in groups]
    assert np.array_equal(np.concatenate(grouped), single)


@NAMES
def test_a_real_mask_is_a_complex_one_without_imaginary_part(name: str) -> None:
    contract = CONTRACTS[name]
    spectra = GOLDEN[f"{name}_spectra"]
    both = golden_mask(contract)
    both[..., 1] = 0.0
    expected = stft.apply_mask(contract, spectra, both, floor=0.2)
    real = both[..., :1]
    assert np.array_equal(stft.apply_mask(contract, spectra, real, floor=0.2), expected)
    tensor = torch.from_numpy(spectra)[None]
    masks = [torch.from_numpy(mask).permute(2, 0, 1)[None] for mask in (both, real)]
    results = [torch_stft.apply_mask(contract, tensor, mask) for mask in masks]
    assert torch.equal(*results)


@NAMES
def test_the_attenuation_limit_of_zero_db_passes_the_input(name: str) -> None:
    contract, spectra = CONTRACTS[name], GOLDEN[f"{name}_spectra"]
    mask = np.zeros((len(spectra), contract.bins, 2), dtype=np.float32)
    assert np.array_equal(stft.apply_mask(contract, spectra, mask, floor=1.0), spectra)


@pytest.mark.parametrize("size", [1, 2])
def test_gradients_reach_the_mask_and_the_signal(size: int) -> None:
    contract = StftContract(window="asymmetric_sqrt_hann", window_length=24, hop=4)
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(2, 30, generator=generator, dtype=torch.float64, requires_grad=True)
    shape = (2, size, contract.frames(30), contract.bins)
    mask = torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    def enhanced(signal: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        spectra = torch_stft.apply_mask(contract, torch_stft.analyse(contract, signal), mask)
        return torch_stft.synthesise(contract, spectra, 30)

    assert torch.autograd.gradcheck(enhanced, (signal, mask))


def test_windows_first_asked_for_without_gradients_serve_training() -> None:
    contract = StftContract(hop=128, window_length=256)
    with torch.inference_mode():
        torch_stft.analyse(contract, torch.zeros(1, 300))
    signal = torch.randn(1, 300, requires_grad=True)
    torch_stft.analyse(contract, signal).abs().sum().backward()
    assert signal.grad is not None
