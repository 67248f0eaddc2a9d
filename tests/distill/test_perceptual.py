"""The perceptual disturbance: what it must ignore, what it must hear, and that it follows PESQ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from distill import stft
from distill.corpus import open_corpus
from distill.losses import LossWeights, denoising_loss
from distill.mixing import Mixture, evaluation_items
from distill.perceptual import perceptual_disturbance
from runtime.stft import StftContract

RATE = 16000


@pytest.fixture(scope="module")
def mixtures() -> list[Mixture]:
    return evaluation_items(open_corpus(None), "valid", 5, 2.0, 0)


def signals(mixtures: list[Mixture]) -> tuple[Tensor, Tensor]:
    noisy, clean = (np.stack([getattr(m, name) for m in mixtures]) for name in ("noisy", "clean"))
    return torch.from_numpy(noisy), torch.from_numpy(clean)


def test_it_follows_pesq(mixtures: list[Mixture]) -> None:
    pesq = pytest.importorskip("pesq").pesq
    noisy, clean = signals(mixtures)
    ours, theirs = [], []
    for share in (1.0, 0.4, 0.1):
        estimate = clean + share * (noisy - clean)
        scores = 4.5 - perceptual_disturbance(RATE, estimate, clean)
        # P.862.2 gives the raw score on this scale
        ours.append(0.999 + 4.0 / (1.0 + np.exp(3.8224 - 1.3669 * scores.numpy())))
        pairs = zip(clean.numpy(), estimate.numpy(), strict=True)
        theirs.append([pesq(RATE, c, e, "wb") for c, e in pairs])
    assert np.corrcoef(np.ravel(ours), np.ravel(theirs))[0, 1] > 0.9


def test_equal_signals_do_not_disturb_and_noise_does(mixtures: list[Mixture]) -> None:
    noisy, clean = signals(mixtures)
    shares = [clean + share * (noisy - clean) for share in (0.0, 0.05, 0.2, 1.0)]
    values = torch.stack([perceptual_disturbance(RATE, estimate, clean) for estimate in shares])
    assert values[0].abs().max() < 1e-4
    assert (values.diff(dim=0) > 0.0).all()
    assert torch.isfinite(values).all()


def test_what_is_taken_away_disturbs_too(mixtures: list[Mixture]) -> None:
    _, clean = signals(mixtures)
    spectrum = torch.fft.rfft(clean)
    spectrum[:, spectrum.shape[1] // 4 :] = 0.0
    assert (perceptual_disturbance(RATE, torch.fft.irfft(spectrum), clean) > 0.1).all()


def test_added_noise_disturbs_more_than_speech_taken_away() -> None:
    generator = torch.Generator().manual_seed(0)
    base, part = 0.01 * torch.randn(2, 1, RATE, generator=generator)
    part = 10.0 * part * (torch.arange(RATE) % 4000 < 2000)
    added = perceptual_disturbance(RATE, base + part, base)
    taken = perceptual_disturbance(RATE, base, base + part)
    assert added > taken


@pytest.mark.parametrize("gains", [(0.1, 1.0), (1.0, 0.1), (5.0, 5.0)])
def test_it_ignores_levels(mixtures: list[Mixture], gains: tuple[float, float]) -> None:
    noisy, clean = signals(mixtures)
    value = perceptual_disturbance(RATE, noisy, clean)
    scaled = perceptual_disturbance(RATE, gains[0] * noisy, gains[1] * clean)
    assert scaled.tolist() == pytest.approx(value.tolist(), rel=2e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("samples", [1, 511, 20000])
@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-3, 1e3])
def test_gradients_are_finite(rate: int, samples: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(samples)
    noise = torch.randn(2, samples, generator=generator)
    for clean in (torch.zeros_like(noise), noise, noise * (torch.arange(samples) < 5000)):
        for other in (scale * noise, scale * clean, scale * noise + clean):
            estimate = other.clone().requires_grad_()
            value = perceptual_disturbance(rate, estimate, clean)
            value.sum().backward()
            assert value.shape == (2,)
            assert torch.isfinite(value).all()
            assert estimate.grad is not None
            assert torch.isfinite(estimate.grad).all()


def test_a_silent_clean_signal_teaches_nothing() -> None:
    estimate = torch.randn(1, RATE, requires_grad=True)
    value = perceptual_disturbance(RATE, estimate, torch.zeros(1, RATE))
    value.sum().backward()
    assert value.item() == 0.0
    assert estimate.grad is not None
    assert not estimate.grad.any()


def test_a_step_along_the_gradient_disturbs_less(mixtures: list[Mixture]) -> None:
    noisy, clean = signals(mixtures)
    estimate = noisy.clone().requires_grad_()
    value = perceptual_disturbance(RATE, estimate, clean).sum()
    (gradient,) = torch.autograd.grad(value, estimate)
    step = 1e-3 * noisy.norm() / gradient.norm() * gradient
    assert perceptual_disturbance(RATE, noisy - step, clean).sum() < value


def test_its_weight_adds_it_to_the_denoising_loss(mixtures: list[Mixture]) -> None:
    noisy, clean = signals(mixtures)
    contract = StftContract()
    level = noisy.square().mean(dim=-1).sqrt()
    spectra = stft.analyse(contract, noisy)
    plain, more = (
        denoising_loss(contract, LossWeights(perceptual=weight), spectra, clean, level).total
        for weight in (0.0, 0.5)
    )
    wave = stft.synthesise(contract, spectra, clean.shape[-1])
    disturbance = perceptual_disturbance(RATE, wave, clean).mean()
    assert float(more - plain) == pytest.approx(0.5 * float(disturbance), rel=1e-3)
