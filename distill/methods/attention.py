"""Attention transfer: where in time and frequency the activations are strong.

Zagoruyko & Komodakis, *Paying More Attention to Attention*, ICLR 2017 (arXiv 1612.03928), the
activation-based form with p = 2. Ours: the map spans time × frequency, silent frames are left
out, bins are averaged where the resolutions differ, and the distance is squared.
"""

from __future__ import annotations

from torch import Tensor, nn

from distill.methods.frames import same_bins
from distill.methods.pairs import Pair
from distill.methods.settings import AttentionSettings

_TINY = 1e-12


class Attention(nn.Module):
    """mean over items of |q_s / |q_s| − q_t / |q_t||², q = mean over channels of the squares.

    The values lie between 0 and 2; scale and number of channels do not matter.
    """

    def __init__(self, settings: AttentionSettings, pair: Pair) -> None:
        super().__init__()
        del settings, pair  # no option, and any two shapes can be compared

    def forward(self, student: Tensor, teacher: Tensor, active: Tensor) -> Tensor:
        """Scalar from activations ``[batch, time, frequency, channels]``."""
        ours, theirs = same_bins(_map(student, active), _map(teacher, active))
        return (_normalised(ours) - _normalised(theirs)).square().sum(dim=1).mean()


def _map(activations: Tensor, active: Tensor) -> Tensor:
    """``[batch, time, frequency, 1]``, its mean square one so that tiny scales count the same."""
    power = activations.square().mean(dim=-1, keepdim=True) * active[:, :, None, None]
    return power / (power.mean(dim=(1, 2, 3), keepdim=True) + _TINY)


def _normalised(attention: Tensor) -> Tensor:
    flat = attention.flatten(1)
    return flat * (flat.square().sum(dim=1, keepdim=True) + _TINY).rsqrt()
