"""Axes of activations ``[batch, time, frequency, channels]``: frames with sound, bins, lengths."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

# Below this share of the usual length a vector counts as short: dividing by its own length would
# make the gradient of nearly nothing arbitrarily large.
_SHORT = 1e-3
_TINY = 1e-12


def active_mean(values: Tensor, active: Tensor) -> Tensor:
    """Mean over items of each item's mean over active frames, both ``[batch, time]``.

    Per item first: the mean of two halves of a batch then is the mean of the whole. A silent item
    counts as zero.
    """
    return ((values * active).sum(dim=1) / active.sum(dim=1).clamp_min(1.0)).mean()


def unit(vectors: Tensor) -> Tensor:
    """``[groups, count, size]`` with lengths one, and less for vectors that are all but zero.

    x / √(|x|² + (10⁻³ · RMS length in the group)²): the scale of a group does not matter.
    """
    squared = vectors.square().sum(dim=-1, keepdim=True)
    return vectors * (squared + _SHORT**2 * squared.mean(dim=-2, keepdim=True) + _TINY).rsqrt()


def same_bins(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both with as many bins as the coarser of the two, averaged over the area of each bin."""
    bins = min(student.shape[2], teacher.shape[2])
    return _pool(student, bins), _pool(teacher, bins)


def _pool(value: Tensor, bins: int) -> Tensor:
    if value.shape[2] == bins:
        return value
    batch, time, _, channels = value.shape
    rows = value.movedim(3, 2).flatten(0, 1)
    pooled = functional.adaptive_avg_pool1d(rows, bins)
    return pooled.view(batch, time, channels, bins).movedim(2, 3)
