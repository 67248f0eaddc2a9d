"""The STFT contract in torch, differentiable; equal to :mod:`runtime.stft` on golden spectra."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from runtime.stft import POWER_FLOOR, StftContract


def _window(contract: StftContract, like: Tensor) -> Tensor:
    return torch.from_numpy(contract.window_values()).to(like.device)


def analyse(contract: StftContract, signal: Tensor) -> Tensor:
    """Spectra ``[batch, time, frequencies]`` of ``[batch, samples]``, framed as in numpy."""
    samples = signal.shape[-1]
    frames = -(-samples // contract.hop) + 1
    after = frames * contract.hop - samples
    padded = functional.pad(signal, (contract.output_delay, after))
    blocks = padded.unfold(-1, contract.window_length, contract.hop)
    return torch.fft.rfft(blocks * _window(contract, signal), contract.fft_size) * contract.scale


def synthesise(contract: StftContract, spectra: Tensor, samples: int) -> Tensor:
    """Signals ``[batch, samples]`` of spectra ``[batch, time, frequencies]``."""
    blocks = torch.fft.irfft(spectra, contract.fft_size) / contract.scale
    blocks = blocks * _window(contract, blocks)
    first, second = blocks.split(contract.hop, dim=-1)
    overlapped = first[:, 1:] + second[:, :-1]  # the leading half block is output_delay zeros
    return overlapped.flatten(1)[:, :samples]


def features(contract: StftContract, spectra: Tensor) -> Tensor:
    """Network features ``[batch, 3, time, bins]`` of spectra ``[batch, time, frequencies]``."""
    kept = spectra[..., : contract.bins]
    power = kept.real.square() + kept.imag.square() + POWER_FLOOR
    gain = power ** (0.5 * (contract.compression - 1.0))
    return torch.stack((power.sqrt() * gain, kept.real * gain, kept.imag * gain), dim=1)


def apply_mask(contract: StftContract, spectra: Tensor, mask: Tensor) -> Tensor:
    """Spectra ``[batch, time, frequencies]`` times the complex mask ``[batch, 2, time, bins]``."""
    gain = torch.complex(mask[:, 0], mask[:, 1])
    missing = contract.frequencies - contract.bins
    return spectra * functional.pad(gain, (0, missing))
