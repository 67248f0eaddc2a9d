"""Losses against independent numpy implementations, their gradients, silence and constants."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill import stft
from distill.activity import active_frames
from distill.losses import LossWeights, denoising_loss, si_sdr
from runtime import metrics
from runtime.stft import StftContract
from runtime.stft import analyse as numpy_analyse

CONTRACT = StftContract()


def signals(seed: int, batch: int = 2, samples: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = 0.1 * torch.randn(batch, samples, generator=generator)
    return clean + 0.05 * torch.randn(batch, samples, generator=generator), clean


def test_si_sdr_equals_the_metric() -> None:
    noisy, clean = signals(0)
    expected = [metrics.si_sdr(c.numpy(), n.numpy()) for c, n in zip(clean, noisy, strict=True)]
    assert si_sdr(noisy, clean).tolist() == pytest.approx(expected, abs=1e-3)


def test_the_denoising_loss_equals_a_numpy_implementation() -> None:
    noisy, clean = signals(1)
    level = noisy.square().mean(-1).sqrt()
    weights = LossWeights(magnitude=0.7, complex=0.3, si_sdr=0.05)
    value = denoising_loss(CONTRACT, weights, stft.analyse(CONTRACT, noisy), clean, level)
    magnitude, complex_part = [], []
    for n, c in zip(noisy.numpy(), clean.numpy(), strict=True):
        rms = np.sqrt(np.mean(n.astype(np.float64) ** 2))
        s = numpy_analyse(CONTRACT, n).astype(np.complex128) / rms
        t = numpy_analyse(CONTRACT, c).astype(np.complex128) / rms
        ps, pt = np.abs(s) ** 2 + 1e-8, np.abs(t) ** 2 + 1e-8
        magnitude.append(np.mean((ps**0.15 - pt**0.15) ** 2))
        complex_part.append(np.mean(np.abs(s * ps**-0.35 - t * pt**-0.35) ** 2))
    ratio = np.mean(
        [metrics.si_sdr(c.numpy(), n.numpy()) for c, n in zip(clean, noisy, strict=True)]
    )
    expected = 0.7 * np.mean(magnitude) + 0.3 * np.mean(complex_part) - 0.05 * ratio / 10
    assert float(value.total) == pytest.approx(expected, rel=1e-4)
    assert float(value.si_sdr) == pytest.approx(ratio, abs=1e-3)


def test_the_loss_ignores_the_level() -> None:
    noisy, clean = signals(2)
    values = []
    for gain in (1.0, 0.1):
        spectra = stft.analyse(CONTRACT, gain * noisy)
        level = (gain * noisy).square().mean(-1).sqrt()
        values.append(
            float(denoising_loss(CONTRACT, LossWeights(), spectra, gain * clean, level)[0])
        )
    assert values[0] == pytest.approx(values[1], rel=1e-3)


def test_silence_gives_a_finite_loss_and_gradient() -> None:
    spectra = torch.zeros(1, 9, 257, dtype=torch.complex64, requires_grad=True)
    silence = torch.zeros(1, 2048)
    loss = denoising_loss(CONTRACT, LossWeights(), spectra, silence, torch.zeros(1)).total
    loss.backward()
    assert torch.isfinite(loss)
    assert spectra.grad is not None
    assert torch.isfinite(torch.view_as_real(spectra.grad)).all()


def test_silent_frames_are_not_active() -> None:
    noisy, _ = signals(5, batch=1, samples=8 * 256)
    noisy[:, 5 * 256 :] *= 1e-4
    active = active_frames(stft.features(CONTRACT, stft.analyse(CONTRACT, noisy)))
    assert active[0, :5].tolist() == [1.0] * 5
    assert active[0, 6:].tolist() == [0.0] * 3
