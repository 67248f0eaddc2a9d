"""Distillation methods, one module each, found by name in one table."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from distill.methods.cosine_latent import CosineLatent

# Name → constructor from the widths of student and teacher latents; None is the student alone.
# The module maps latents [batch, time, width] of both and active frames [batch, time] to a loss.
METHODS: dict[str, Callable[[int, int], nn.Module] | None] = {
    "none": None,
    "cosine-latent": CosineLatent,
}
