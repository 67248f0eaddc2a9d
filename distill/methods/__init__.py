"""Distillation methods, one module each, found by name in one table."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from distill.methods.alignment import NAMES, Alignment, build_alignment, wanted_taps
from distill.methods.cosine_latent import CosineLatent
from distill.methods.pairs import Pair
from distill.methods.settings import CosineLatentSettings, MethodSettings, TapPair
from distill.views import TapShape

__all__ = ["NAMES", "Alignment", "MethodSettings", "TapPair", "build_alignment", "wanted_taps"]


def _cosine_latent(student: int, teacher: int) -> nn.Module:
    latent = TapPair(student="bottleneck.latent", teacher="bottleneck.latent")
    return CosineLatent(
        CosineLatentSettings(), Pair(latent, TapShape(1, student), TapShape(1, teacher))
    )


# Name → constructor from the widths of student and teacher latents; None is the student alone.
METHODS: dict[str, Callable[[int, int], nn.Module] | None] = {
    "none": None,
    "cosine-latent": _cosine_latent,
}
