"""Fine-grained similarity: Gram matrices over the batch, per frame and per frequency.

Nathoo, Kegler & Stamenovic, *Two-Step Knowledge Distillation for Tiny Speech Enhancement*, ICASSP
2024 (arXiv 2309.08144), a finer form of similarity-preserving distillation (Tung & Mori, ICCV
2019). Ours: frames of silence are zero, short rows are softened, the value is the mean over rows
(not divided by the batch size again), and bins are averaged where the resolutions differ.
"""

from __future__ import annotations

from torch import Tensor, nn

from distill.methods.frames import same_bins, unit
from distill.methods.pairs import Pair
from distill.methods.settings import SimilaritySettings
from targets.errors import InputError

_TINY = 1e-12


class Similarity(nn.Module):
    """mean over frames (and over bins) and items of |g_s − g_t|², the rows of G / |rows of G|.

    At frame ``t``, G_t = Q Qᵀ ``[batch, batch]`` of Q ``[batch, frequency · channels]``; at bin
    ``f``, of Q ``[batch, time · channels]``. G has the same size for any number of channels, so
    nothing is projected. Items of a batch are compared with each other: the loss of half a batch
    is another loss.
    """

    def __init__(self, settings: SimilaritySettings, pair: Pair) -> None:
        super().__init__()
        del pair  # any two shapes can be compared
        self.per_time, self.per_frequency = settings.per_time, settings.per_frequency

    def forward(self, student: Tensor, teacher: Tensor, active: Tensor) -> Tensor:
        """Scalar from activations ``[batch, time, frequency, channels]``."""
        if len(student) < 2:
            raise InputError(
                "similarity compares the items of a batch, and this batch has one.",
                hint="Give each process at least two mixtures a step.",
            )
        mask = active[:, :, None, None]
        student, teacher = student * mask, teacher * mask
        frames = _distance(student.movedim(1, 0), teacher.movedim(1, 0), active.T)
        student, teacher = same_bins(student, teacher)
        heard = active.amax(dim=1).expand(student.shape[2], -1)
        bins = _distance(student.movedim(2, 0), teacher.movedim(2, 0), heard)
        return self.per_time * frames + self.per_frequency * bins


def _distance(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Mean squared distance of the Gram rows of ``[places, batch, …]`` where ``counted``
    ``[places, batch]``."""
    distance = (_rows(student) - _rows(teacher)).square().sum(dim=-1)
    return (distance * counted).sum() / counted.sum().clamp_min(1.0)


def _rows(activations: Tensor) -> Tensor:
    vectors = activations.flatten(2)
    gram = vectors @ vectors.mT
    # Rows of all places are one group, so that a place nearly silent throughout stays small. Their
    # entries are squares: at a mean of one on the diagonal they neither overflow nor vanish.
    gram = gram / (gram.diagonal(dim1=-2, dim2=-1).mean() + _TINY)
    return unit(gram.flatten(0, 1)[None])[0].view_as(gram)
