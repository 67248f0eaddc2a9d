"""Relations between the items of a batch: their distances and the angles they span.

Park, Kim, Lu & Cho, *Relational Knowledge Distillation*, CVPR 2019 (arXiv 1904.05068), RKD-D and
RKD-A. Ours: an item is the mean of its activation over active frames and bins; silent items are
left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.methods.pairs import Pair
from distill.methods.settings import RelationalSettings
from targets.errors import InputError

_TINY = 1e-12


class Relational(nn.Module):
    """d · mean of H(ψ_s, ψ_t) over pairs + a · mean of H(cos_s, cos_t) over triplets.

    ψ_ij = |x_i − x_j| / mean of the distances, cos_ijk the cosine at ``j`` of the triangle of
    three items, H Huber's loss with threshold one. Items of a batch are compared with each other:
    the loss of half a batch is another loss. Any two widths can be compared.
    """

    def __init__(self, settings: RelationalSettings, pair: Pair) -> None:
        super().__init__()
        del pair  # any two shapes can be compared
        self.distance, self.angle = settings.distance, settings.angle
        self.least_items = settings.least_items

    def forward(self, student: Tensor, teacher: Tensor, active: Tensor) -> Tensor:
        """Scalar from activations ``[batch, time, frequency, channels]``."""
        if len(student) < self.least_items:
            raise InputError(
                f"relational compares {self.least_items} items of a batch, and this batch has "
                f"{len(student)}.",
                hint="Give each process more mixtures a step, or set `angle: 0`.",
            )
        heard = active.amax(dim=1)
        apart = 1.0 - torch.eye(len(heard), dtype=heard.dtype, device=heard.device)
        pairs = heard[:, None] * heard * apart
        triplets = pairs[:, :, None] * pairs[:, None] * apart
        ours, theirs = (_relations(_pooled(side, active), pairs) for side in (student, teacher))
        return self.distance * _huber(ours[0], theirs[0], pairs) + self.angle * _huber(
            ours[1], theirs[1], triplets
        )


def _pooled(activations: Tensor, active: Tensor) -> Tensor:
    """Mean over active frames and bins, ``[batch, channels]``."""
    summed = (activations.mean(dim=2) * active[:, :, None]).sum(dim=1)
    return summed / active.sum(dim=1, keepdim=True).clamp_min(1.0)


def _relations(items: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Distances ``[j, i]`` over their mean, and cosines ``[j, i, k]`` at item ``j``."""
    edges = items[None] - items[:, None]
    squared = edges.square().sum(dim=-1)
    distinct = squared > 0.0
    # The slope of √ at zero is infinite: where two items coincide nothing flows.
    lengths = torch.where(distinct, squared, 1.0).sqrt() * distinct
    mean = (lengths * pairs).sum() / pairs.sum().clamp_min(1.0)
    directions = edges / torch.where(distinct, lengths, 1.0)[..., None]
    cosines = torch.einsum("jic,jkc->jik", directions, directions)
    return lengths / (mean + _TINY), cosines


def _huber(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    distance = functional.huber_loss(student, teacher, reduction="none", delta=1.0)
    return (distance * counted).sum() / counted.sum().clamp_min(1.0)
