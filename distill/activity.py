"""Which frames of a mixture hold sound: losses between latents leave silence out (ours)."""

from __future__ import annotations

from torch import Tensor


def active_frames(features: Tensor, threshold_db: float = 40.0) -> Tensor:
    """``[batch, time]`` of 1 where a frame of features ``[batch, 3, time, bins]`` is louder than
    ``threshold_db`` below the loudest frame of its item, else 0.

    The features are compressed, so the comparison is of compressed energies at exponent 0.3; of
    features with another exponent c the threshold is ``0.3 / c`` times as many decibels.
    """
    energy = features[:, 0].square().mean(dim=-1)
    floor = energy.amax(dim=-1, keepdim=True) * 10.0 ** (-0.3 * threshold_db / 10.0)
    return (energy > floor).to(features.dtype)
