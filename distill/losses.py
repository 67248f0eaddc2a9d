"""Denoising loss: compressed magnitude and complex spectra, SI-SDR, and a perceptual term (ours).

Compressed spectral distances with exponent 0.3 follow Ephrat et al. 2018 and Braun & Tashev 2020;
SI-SDR follows Le Roux et al. 2019; the perceptual term is :mod:`distill.perceptual`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat
from torch import Tensor

from distill import stft
from distill.perceptual import perceptual_disturbance
from runtime.stft import StftContract

_FLOOR = 1e-8  # added to powers: keeps the gradient of |S|^0.3 finite in silence


class LossWeights(BaseModel):
    """Weights of the four terms; SI-SDR enters in bels (dB / 10), disturbance in PESQ points.

    With ``perceptual`` 0 the disturbance is not computed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    magnitude: NonNegativeFloat = 0.7
    complex: NonNegativeFloat = 0.3
    si_sdr: NonNegativeFloat = 0.05
    perceptual: NonNegativeFloat = 0.0


class DenoisingLoss(NamedTuple):
    """Total loss (scalar) and the mean SI-SDR of the batch in dB (detached)."""

    total: Tensor
    si_sdr: Tensor


def denoising_loss(
    contract: StftContract, weights: LossWeights, estimate: Tensor, clean: Tensor, level: Tensor
) -> DenoisingLoss:
    """Loss of estimated spectra ``[batch, time, frequencies]`` against clean ``[batch, samples]``.

    ``level`` ``[batch]`` is the RMS of the noisy signal: both sides are divided by it, so that
    loud and soft recordings weigh the same.
    """
    scale = (1.0 / level.clamp_min(1e-5)).view(-1, 1, 1)
    target = stft.analyse(contract, clean) * scale
    estimate = estimate * scale
    target_magnitude, target_phase = compress(target, contract.compression)
    magnitude, phase = compress(estimate, contract.compression)
    distance = (magnitude - target_magnitude).square().mean()
    complex_distance = (phase - target_phase).abs().square().mean()
    wave = stft.synthesise(contract, estimate, clean.shape[-1])
    ratio = si_sdr(wave, clean).mean()
    total = (
        weights.magnitude * distance
        + weights.complex * complex_distance
        - weights.si_sdr * ratio / 10.0
    )
    if weights.perceptual > 0.0:
        scaled = clean * scale.squeeze(-1)
        disturbance = perceptual_disturbance(contract.sample_rate, wave, scaled)
        total = total + weights.perceptual * disturbance.mean()
    return DenoisingLoss(total, ratio.detach())


def compress(spectra: Tensor, exponent: float) -> tuple[Tensor, Tensor]:
    """Magnitudes to the power of ``exponent``, and the spectra with those magnitudes."""
    power = spectra.real.square() + spectra.imag.square() + _FLOOR
    return power ** (0.5 * exponent), spectra * power ** (0.5 * (exponent - 1.0))


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant SDR in dB ``[batch]`` of signals ``[batch, samples]``, means removed."""
    estimate = estimate - estimate.mean(dim=-1, keepdim=True)
    reference = reference - reference.mean(dim=-1, keepdim=True)
    energy = reference.square().sum(dim=-1, keepdim=True) + 1e-8
    projection = (estimate * reference).sum(dim=-1, keepdim=True) / energy * reference
    signal = projection.square().sum(dim=-1) + 1e-8
    error = (estimate - projection).square().sum(dim=-1) + 1e-8
    return 10.0 * torch.log10(signal / error)
