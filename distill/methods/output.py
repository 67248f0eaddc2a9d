"""The student's compressed output against the teacher's: response-based distillation.

The idea is that of Hinton, Vinyals & Dean 2015 (arXiv 1503.02531); the distance between power-
compressed magnitudes and complex spectra, as in the denoising loss, is ours.
"""

from __future__ import annotations

from torch import Tensor, nn

from distill.losses import compress
from distill.methods.settings import OutputSettings
from distill.views import Batch


class Output(nn.Module):
    """mean of m · (|S|^c − |T|^c)² + k · |S|S|^(c−1) − T|T|^(c−1)|² over items, frames and bins.

    ``S`` and ``T`` are the estimates of student and teacher over the level of the noisy signal,
    ``c`` the compression of the contract. Silence counts: the device is heard there, too.
    """

    def __init__(self, settings: OutputSettings) -> None:
        super().__init__()
        self.magnitude, self.complex = settings.magnitude, settings.complex

    def forward(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """Scalar from estimates ``[batch, time, frequencies]``, complex."""
        magnitude, phase = compress(student * batch.scale, batch.compression)
        target, target_phase = compress(teacher * batch.scale, batch.compression)
        loud = (magnitude - target).square().mean()
        phased = (phase - target_phase).abs().square().mean()
        return self.magnitude * loud + self.complex * phased
