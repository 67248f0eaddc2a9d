"""Latent alignment by cosine distance through a linear inverted bottleneck.

Luong, Heikkinen, Drossos, Virtanen, AES Express Paper 2025 (arXiv 2505.03442). The width of the
projection (by default that of the teacher's latent) and the masking of silent frames are ours.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from distill.methods.frames import active_mean, unit
from distill.methods.pairs import Pair
from distill.methods.settings import CosineLatentSettings
from targets.errors import InputError


class CosineLatent(nn.Module):
    """mean over items and active frames of 1 − cos(A z_s, E z_t), A linear and widening.

    ``A`` is learned, serves training only and costs nothing on the device. ``E`` embeds the
    teacher's latent in the common width and is the identity by default. In a wider space it
    appends zeros: it must be fixed, because a learned one could meet the student in one direction
    for all frames, and orthonormal, so that angles between the teacher's latents stay; which
    orthonormal map makes no difference, as ``A`` learns whatever rotation there is between two.
    """

    def __init__(self, settings: CosineLatentSettings, pair: Pair) -> None:
        super().__init__()
        inputs = pair.student.frequency * pair.student.channels
        target = pair.teacher.frequency * pair.teacher.channels
        width = settings.width or target
        if width < max(inputs, target):
            raise InputError(
                f"An inverted bottleneck widens, to {width} it would narrow: {pair}.",
                hint=f"Give cosine-latent a `width` of at least {max(inputs, target)}.",
            )
        self.missing = width - target
        self.widen = nn.Linear(inputs, width, bias=False)

    def forward(self, student: Tensor, teacher: Tensor, active: Tensor) -> Tensor:
        """Scalar from activations ``[batch, time, frequency, channels]``, one vector a frame."""
        heard = active[:, :, None]
        widened = self.widen(student.flatten(2) * heard)
        target = functional.pad(teacher.flatten(2) * heard, (0, self.missing))
        cosine = (unit(widened) * unit(target)).sum(dim=-1)
        return active_mean(1.0 - cosine, active)
