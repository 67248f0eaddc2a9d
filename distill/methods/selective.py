"""Output distillation only where the teacher beats the student.

Kim & Choi, *DISPatch: Distilling Selective Patches for Speech Enhancement*, 2025 (arXiv
2509.15922): patches of the spectrogram are ranked by the knowledge gap, the student's error minus
the teacher's, and the loss is applied to those with the largest. Ours: the distance (that of
:mod:`distill.methods.output`), no patch where the teacher is not better, the default sizes, and
patches of one size; their multi-scale patches are not built.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.losses import compress
from distill.methods.settings import SelectiveSettings
from distill.views import Batch


class Selective(nn.Module):
    """Σ over chosen patches of D(S, T) / how many may be chosen, mean over items.

    A patch is chosen where its gap D(S, X) − D(T, X), ``X`` the clean target, is positive and
    among the largest ``share`` of its item. No gradient flows through the choice. As the student
    catches up, fewer patches are chosen and the loss fades.
    """

    def __init__(self, settings: SelectiveSettings) -> None:
        super().__init__()
        self.magnitude, self.complex = settings.magnitude, settings.complex
        self.patch, self.share = (settings.frames, settings.bins), settings.share

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """Scalar from estimates ``[batch, time, frequencies]``, complex."""
        ours, theirs, clean = (
            compress(spectra * batch.scale, batch.compression)
            for spectra in (student, teacher, batch.clean)
        )
        with torch.no_grad():
            gap = self._patches(self._distance(ours, clean) - self._distance(theirs, clean))
            most = max(1, math.floor(self.share * gap.shape[1]))
            chosen = _largest(gap, most)
        patches = self._patches(self._distance(ours, theirs))
        return (patches * chosen).sum(dim=1).mean() / most

    def _distance(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
        loud = (one[0] - other[0]).square()
        return self.magnitude * loud + self.complex * (one[1] - other[1]).abs().square()

    def _patches(self, values: Tensor) -> Tensor:
        """Mean of each patch ``[batch, patches]``; those at the end may be smaller."""
        pooled = functional.avg_pool2d(
            values[:, None], self.patch, ceil_mode=True, count_include_pad=False
        )
        return pooled.flatten(1)


def _largest(gap: Tensor, most: int) -> Tensor:
    """1 where a gap is positive and among the ``most`` largest of its row, else 0."""
    least = gap.topk(most, dim=1).values[:, -1:]
    return ((gap >= least) & (gap > 0.0)).to(gap.dtype)
