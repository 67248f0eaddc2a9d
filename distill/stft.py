"""The STFT contract in torch, differentiable; equal to :mod:`runtime.stft` on golden spectra."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from runtime.stft import POWER_FLOOR, StftContract


@lru_cache(maxsize=16)
def _windows(contract: StftContract, device: torch.device) -> tuple[Tensor, Tensor]:
    """Analysis and synthesis window, copied to a device once."""
    analysis, synthesis = contract.analysis_window(), contract.synthesis_window()
    with torch.inference_mode(False):  # kept for training too, whoever asks first
        return torch.from_numpy(analysis).to(device), torch.from_numpy(synthesis).to(device)


def analyse(contract: StftContract, signal: Tensor) -> Tensor:
    """Spectra ``[batch, time, frequencies]`` of ``[batch, samples]``, framed as in numpy."""
    samples = signal.shape[-1]
    after = contract.frames(samples) * contract.hop - samples
    padded = functional.pad(signal, (contract.history, after))
    blocks = padded.unfold(-1, contract.window_length, contract.hop)
    window, _ = _windows(contract, signal.device)
    return torch.fft.rfft(blocks * window, contract.fft_size) * contract.scale


def synthesise(contract: StftContract, spectra: Tensor, samples: int) -> Tensor:
    """Signals ``[batch, samples]`` of spectra ``[batch, time, frequencies]``."""
    _, window = _windows(contract, spectra.device)
    waves = torch.fft.irfft(spectra, contract.fft_size) / contract.scale
    kept = waves[..., contract.window_length - contract.synthesis_length : contract.window_length]
    parts = (kept * window).unflatten(-1, (contract.overlap, contract.hop))
    frames, oldest = parts.shape[1], contract.overlap - 1
    # Hops before the first whole one are output_delay zeros; oldest frame first, as in numpy.
    overlapped = sum(parts[:, oldest - n : frames - n, n] for n in range(oldest, -1, -1))
    assert isinstance(overlapped, Tensor)
    return overlapped.flatten(1)[:, :samples]


def features(contract: StftContract, spectra: Tensor) -> Tensor:
    """Network features ``[batch, 3, time, bins]`` of spectra ``[batch, time, frequencies]``."""
    kept = spectra[..., : contract.bins]
    power = kept.real.square() + kept.imag.square() + POWER_FLOOR
    gain = power ** (0.5 * (contract.compression - 1.0))
    return torch.stack((power.sqrt() * gain, kept.real * gain, kept.imag * gain), dim=1)


def apply_mask(contract: StftContract, spectra: Tensor, mask: Tensor) -> Tensor:
    """Spectra ``[batch, time, frequencies]`` times a mask ``[batch, 1 or 2, time, bins]``.

    One channel is a real gain, two are real and imaginary part of a complex one.
    """
    mask = mask.to(spectra.real.dtype)  # under autocast masks are shorter than spectra
    gain = mask[:, 0] if mask.shape[1] == 1 else torch.complex(mask[:, 0], mask[:, 1])
    missing = contract.frequencies - contract.bins
    return spectra * functional.pad(gain, (0, missing))
