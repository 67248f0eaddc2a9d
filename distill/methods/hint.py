"""Hints: the teacher's activation predicted from the student's by a learned regressor.

Romero et al., *FitNets: Hints for Thin Deep Nets*, ICLR 2015 (arXiv 1412.6550). Ours: the regressor
is a 1 × 1 convolution with bias, the error is relative to the teacher's energy, silent frames are
left out, and bins are averaged where the resolutions differ.
"""

from __future__ import annotations

from torch import Tensor, nn

from distill.methods.frames import same_bins
from distill.methods.pairs import Pair
from distill.methods.settings import HintSettings

_FLOOR = 1e-8  # of the teacher's mean square: a teacher that says nothing is no division by zero


class Hint(nn.Module):
    """mean over items of Σ |R s − t|² / Σ |t|², sums over active frames, bins and channels.

    One is what a regressor that gives zero gets. The regressor serves training only.
    """

    def __init__(self, settings: HintSettings, pair: Pair) -> None:
        super().__init__()
        del settings  # no option
        self.regressor = nn.Linear(pair.student.channels, pair.teacher.channels)

    def forward(self, student: Tensor, teacher: Tensor, active: Tensor) -> Tensor:
        """Scalar from activations ``[batch, time, frequency, channels]``."""
        student, teacher = same_bins(student, teacher)
        error = _energy(self.regressor(student) - teacher, active)
        return (error / (_energy(teacher, active) + _FLOOR)).mean()


def _energy(activations: Tensor, active: Tensor) -> Tensor:
    """Mean square over active frames of each item, ``[batch]``."""
    frames = activations.square().mean(dim=(2, 3))
    return (frames * active).sum(dim=1) / active.sum(dim=1).clamp_min(1.0)
