"""Mixtures that a network can learn from in a few steps, and a small network to do so."""

from __future__ import annotations

import numpy as np
import torch

from distill.mixing import Mixer, Mixture
from distill.unet import UNet, UNetConfig
from runtime.stft import FloatArray

SAMPLES = 4096


class TonesInNoise(Mixer):
    """Tones in white noise: needs no corpus."""

    def __init__(self) -> None:
        """No corpus is needed."""

    def rows(self, first: int, count: int) -> tuple[FloatArray, FloatArray]:
        n = np.arange(SAMPLES)
        streams = [np.random.default_rng(index) for index in range(first, first + count)]
        tones = np.stack([0.1 * np.sin(rng.uniform(0.05, 0.3) * n) for rng in streams])
        noise = np.stack([rng.normal(0, 0.1, SAMPLES) for rng in streams])
        return (tones + noise).astype(np.float32), tones.astype(np.float32)


def held_out_tones(count: int) -> list[Mixture]:
    """Mixtures that training with fewer than 100,000 items does not see."""
    noisy, clean = TonesInNoise().rows(100_000, count)
    pairs = zip(noisy, clean, strict=True)
    return [Mixture(one, other, 0.0, "tone", "white") for one, other in pairs]


def fresh_network(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    return UNet(UNetConfig(widths=(6, 8), hidden=8, patch=8))
