"""Latent alignment by cosine distance through a linear inverted bottleneck.

Luong, Heikkinen, Drossos, Virtanen, AES Express Paper 2025 (arXiv 2505.03442). The width of the
projection (that of the teacher's latent) and the masking of silent frames are our reading.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from targets.errors import InputError


class CosineLatent(nn.Module):
    """mean over active frames of 1 − cos(A z_s, z_t), A linear and widening.

    ``A`` serves training only and costs nothing on the device.
    """

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        if teacher_width < student_width:
            raise InputError(
                f"An inverted bottleneck widens: the teacher's latent ({teacher_width}) is "
                f"narrower than the student's ({student_width}).",
                hint="Give the teacher at least the student's `hidden` size.",
            )
        self.widen = nn.Linear(student_width, teacher_width, bias=False)

    def forward(self, student: Tensor, teacher: Tensor, active: Tensor) -> Tensor:
        cosine = functional.cosine_similarity(self.widen(student), teacher, dim=-1, eps=1e-6)
        return ((1.0 - cosine) * active).sum() / active.sum().clamp_min(1.0)


def active_frames(features: Tensor, threshold_db: float = 40.0) -> Tensor:
    """``[batch, time]`` of 1 where a frame of features ``[batch, 3, time, bins]`` is louder than
    ``threshold_db`` below the loudest frame of its item, else 0.

    The features are compressed, so the comparison is of compressed energies at exponent 0.3.
    """
    energy = features[:, 0].square().mean(dim=-1)
    floor = energy.amax(dim=-1, keepdim=True) * 10.0 ** (-0.3 * threshold_db / 10.0)
    return (energy > floor).to(features.dtype)
