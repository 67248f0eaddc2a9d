"""Means over the frames that hold sound."""

from __future__ import annotations

from torch import Tensor


def active_mean(values: Tensor, active: Tensor) -> Tensor:
    """Mean over items of each item's mean over active frames, both ``[batch, time]``.

    Per item first: the mean of two halves of a batch then is the mean of the whole. A silent item
    counts as zero.
    """
    return ((values * active).sum(dim=1) / active.sum(dim=1).clamp_min(1.0)).mean()
