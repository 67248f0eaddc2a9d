"""How disturbing an estimate sounds: a differentiable psychoacoustic distance for training.

It follows the perceptual model of ITU-T P.862 and P.862.2 (Beerends, Hekstra, Rix and Hollier,
J. Audio Eng. Soc. 50(10), 2002) as a loss, an idea of Martín-Doñas, Gomez, Gonzalez and Peinado,
IEEE Signal Processing Letters 25(11), 2018: powers in Bark bands, Zwicker's loudness, a symmetric
disturbance and an asymmetric one that counts what the estimate adds. No table of the
Recommendation is used: Bark after Traunmüller 1990, hearing threshold after Terhardt 1979, and
the loudness calibrated to one sone for a tone of 1 kHz at 40 dB. Left out are the alignment in
time, which a mask does not need, the compensation of linear filtering, which brought nothing
here, and the treatment of bad intervals: it is a guide for training, not PESQ.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

FloatArray = npt.NDArray[np.float64]

WINDOW_SECONDS = 0.032
LEVEL_BAND_HZ = (350.0, 3250.0)  # the band whose power is the level of speech
LEVEL_DB = 88.0  # sound pressure level of the speech: of those tried, closest to PESQ's scores
HIGHEST_HZ = 8000.0
BAND_BARK = 21.0 / 49.0  # 49 bands up to 8 kHz
EXPONENT = 0.23  # of Zwicker's loudness
LOUDEST = 45.0  # a frame's disturbance stays under it
SILENT = 1e-9  # mean power under which a clean signal says nothing


class _Ear(NamedTuple):
    """What depends on the sample rate only; powers are in units of 0 dB SPL."""

    width: float  # of a band in Bark
    window: Tensor  # [window], scaled so that a frame's squares over its length are power
    speech: Tensor  # [frequencies], 1 in the band of the level
    bands: Tensor  # [frequencies, bands], the share of each bin in each band
    threshold: Tensor  # [bands], power at the threshold of hearing
    exponent: Tensor  # [bands]
    loudness: Tensor  # [bands], factor of the loudness in sone / Bark


def perceptual_disturbance(sample_rate: int, estimate: Tensor, clean: Tensor) -> Tensor:
    """Disturbance ``[batch]`` of estimates against clean signals, both ``[batch, samples]``.

    4.5 minus it estimates a raw PESQ score. It is 0 for equal signals, does not depend on the
    level of either, and is 0 without a gradient where the clean signal is silent.
    """
    ear = _ear(sample_rate, estimate.device)
    powers, clean_powers = _powers(ear, estimate), _powers(ear, clean)
    clean_level = _level(ear, clean_powers)
    # An estimate far softer than the clean signal is not raised without bound.
    level = _level(ear, powers) + 1e-4 * clean_level
    degraded, reference = _aligned(ear, powers, level), _aligned(ear, clean_powers, clean_level)
    degraded = degraded * _gains(ear, degraded, reference)
    importance = ((reference.sum(dim=-1, keepdim=True) + 1e5) / 1e7) ** 0.04
    frames = _bounded(_frame_disturbances(ear, degraded, reference) / importance)
    symmetric, asymmetric = _over_time(frames).unbind(dim=1)
    disturbance = 0.1 * symmetric + 0.0309 * asymmetric
    return torch.where(clean_level > SILENT, disturbance, 0.0)


def _powers(ear: _Ear, signals: Tensor) -> Tensor:
    """Power spectra ``[batch, time, frequencies]``, whose sums are mean powers of frames."""
    size = len(ear.window)
    hop = size // 2
    padded = functional.pad(signals, (hop, hop + -signals.shape[-1] % hop))
    hops = padded.unflatten(-1, (-1, hop))  # cheaper backwards than unfold
    spectra = torch.fft.rfft(torch.cat((hops[:, :-1], hops[:, 1:]), dim=-1) * ear.window)
    return (spectra.real.square() + spectra.imag.square()) / size


def _level(ear: _Ear, powers: Tensor) -> Tensor:
    return (powers * ear.speech).sum(dim=-1).mean(dim=-1)


def _aligned(ear: _Ear, powers: Tensor, level: Tensor) -> Tensor:
    """Powers ``[batch, time, bands]`` of a signal brought from ``level`` to ``LEVEL_DB``."""
    gain = 10.0 ** (LEVEL_DB / 10.0) / level.clamp_min(SILENT)
    return powers @ ear.bands * gain.view(-1, 1, 1)


def _gains(ear: _Ear, degraded: Tensor, reference: Tensor) -> Tensor:
    """Gains ``[batch, time, 1]`` that bring the frames of ``degraded`` to the reference's power.

    Slow changes of level are no disturbance. Each gain is blended with the one before it.
    """
    wanted, present = (
        torch.where(powers > ear.threshold, powers, 0.0).sum(dim=-1) + 5e3
        for powers in (reference, degraded)
    )
    gains = wanted / present
    before = torch.cat((gains[:, :1], gains[:, :-1]), dim=1)
    return (0.8 * gains + 0.2 * before).clamp(3e-4, 5.0).unsqueeze(-1)


def _frame_disturbances(ear: _Ear, degraded: Tensor, reference: Tensor) -> Tensor:
    """Symmetric and asymmetric disturbance ``[batch, time, 2]`` of ``[batch, time, bands]``."""
    loudness, wanted = _loudness(ear, degraded), _loudness(ear, reference)
    difference = loudness - wanted
    masked = 0.25 * torch.minimum(loudness, wanted)
    audible = difference.sign() * (difference.abs() - masked).clamp_min(0.0)
    added = ((degraded + 50.0) / (reference + 50.0)) ** 1.2
    added = torch.where(added < 3.0, 0.0, added.clamp_max(12.0))
    total = ear.width * audible.shape[-1]
    symmetric = _root((ear.width * audible).square().sum(dim=-1) / total, 2) * total
    asymmetric = (ear.width * added * audible.abs()).sum(dim=-1)
    return torch.stack((symmetric, asymmetric), dim=-1)


def _bounded(frames: Tensor) -> Tensor:
    """Frames kept under ``LOUDEST``, smoothly: a hard limit would leave the worst no gradient."""
    return frames / (1.0 + (frames / LOUDEST) ** 4) ** 0.25


def _loudness(ear: _Ear, powers: Tensor) -> Tensor:
    """Loudness in sone / Bark (Zwicker): 0 under the threshold of hearing."""
    excess = (powers / ear.threshold).clamp_min(1.0)
    return ear.loudness * ((0.5 + 0.5 * excess) ** ear.exponent - 1.0)


def _over_time(frames: Tensor) -> Tensor:
    """``[batch, 2]`` of ``[batch, time, 2]``: norm of order 6 within stretches of 20 frames, every
    10 frames, and of order 2 over them."""
    count = frames.shape[1]
    missing = max(0, 20 - count) or -(count - 20) % 10
    stretches = functional.pad(frames, (0, 0, 0, missing)).unfold(1, 20, 10)
    return _root(_root((stretches**6).mean(dim=-1), 6).square().mean(dim=1), 2)


def _root(values: Tensor, order: int) -> Tensor:
    """``order``-th root of values of at least 0; 0 and of a finite slope at 0."""
    small = 1e-6
    return (values + small) ** (1.0 / order) - small ** (1.0 / order)


@lru_cache(maxsize=8)
def _ear(sample_rate: int, device: torch.device) -> _Ear:
    """The ear at a sample rate, copied to a device once."""
    size = 2 * round(WINDOW_SECONDS * sample_rate / 2.0)
    frequencies = np.arange(size // 2 + 1) * sample_rate / size
    window = np.sin(np.pi * np.arange(size) / size) ** 2
    window *= np.sqrt(2.0 / np.square(window).mean() / size)
    speech = (frequencies >= LEVEL_BAND_HZ[0]) & (frequencies <= LEVEL_BAND_HZ[1])
    edges = _edges(min(HIGHEST_HZ, sample_rate / 2.0))
    centres = 0.5 * (edges[1:] + edges[:-1])
    bands = _shares(frequencies, edges)
    threshold = _threshold(_hertz(centres))
    exponent = EXPONENT * np.clip(6.0 / (centres + 2.0), 1.0, 2.0) ** 0.15
    loudness = (2.0 * threshold) ** exponent
    with torch.inference_mode(False):  # kept for training too, whoever asks first
        tables = (window, speech, bands, threshold, exponent, loudness)
        tensors = [torch.from_numpy(table.astype(np.float32)) for table in tables]
        ear = _Ear(float(edges[1]), *tensors)
        tone = torch.sin(2000.0 * torch.pi * torch.arange(8 * size) / sample_rate)
        middle = _powers(ear, tone[None])[0, 8]
        sones = ear.width * _loudness(ear, 1e4 * middle / middle.sum() @ ear.bands).sum()
        tensors[-1] /= sones
        return _Ear(ear.width, *(tensor.to(device) for tensor in tensors))


def _edges(highest_hz: float) -> FloatArray:
    """Edges of the bands in Bark, from 0."""
    highest = float(_bark(np.array(highest_hz)))
    return np.linspace(0.0, highest, round(highest / BAND_BARK) + 1)


def _shares(frequencies: FloatArray, edges: FloatArray) -> FloatArray:
    """Share ``[frequencies, bands]`` of each bin, as wide as their spacing, in each band."""
    half = 0.5 * frequencies[1]
    low = _bark((frequencies - half).clip(0.0))[:, None]
    high = _bark(frequencies + half)[:, None]
    common = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    shares: FloatArray = common.clip(0.0) / (high - low)
    return shares


def _bark(hertz: FloatArray) -> FloatArray:
    """Critical-band rate (Traunmüller 1990, with his correction of the low end), 0 at 0 Hz."""
    bark = 26.81 * hertz / (1960.0 + hertz)
    return np.where(bark < 2.53, 0.85 * bark, bark - 0.15 * 2.53)


def _hertz(bark: FloatArray) -> FloatArray:
    grid = np.arange(0.0, 24001.0, 5.0)
    return np.interp(bark, _bark(grid), grid)


def _threshold(hertz: FloatArray) -> FloatArray:
    """Power of the threshold of hearing (Terhardt 1979), at least 20 Hz."""
    k = hertz.clip(20.0) / 1000.0
    decibels = 3.64 * k**-0.8 - 6.5 * np.exp(-0.6 * (k - 3.3) ** 2) + 1e-3 * k**4
    powers: FloatArray = 10.0 ** (0.1 * decibels)
    return powers
