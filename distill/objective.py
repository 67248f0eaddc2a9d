"""What is minimised: the denoising loss, and what the methods ask of student and teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from distill import stft
from distill.activity import active_frames
from distill.losses import LossWeights, denoising_loss
from distill.methods import Alignment
from distill.taps import align_frames, capture
from distill.teachers import Teacher
from distill.unet import UNet
from distill.views import Batch, View
from runtime.stft import StftContract


@dataclass(frozen=True)
class Guidance:
    """A teacher, what it is compared in, and the activations that takes from either side.

    ``first_share`` is the share of the steps on the methods alone, before the rest on the
    denoising loss alone (two-step); None adds both up in every step (joint).
    """

    teacher: Teacher
    alignment: Alignment
    student_taps: tuple[str, ...]
    teacher_taps: tuple[str, ...]
    first_share: float | None = None


@dataclass(frozen=True)
class Objective:
    """The denoising loss in a contract, and guidance by a teacher where there is one."""

    contract: StftContract
    loss: LossWeights
    guidance: Guidance | None = None


class Terms(NamedTuple):
    """What one step minimises: whether the methods and the denoising loss take part."""

    guided: bool
    supervised: bool


class Losses(NamedTuple):
    """Scalars: total, its two parts (0 where one took no part), and SI-SDR in dB (detached)."""

    total: Tensor
    denoising: Tensor
    alignment: Tensor
    si_sdr: Tensor


def phases(objective: Objective, steps: int) -> list[int]:
    """Lengths of the schedule's phases, in steps."""
    guidance = objective.guidance
    if guidance is None or guidance.first_share is None or steps < 2:
        return [steps]
    first = min(max(1, round(guidance.first_share * steps)), steps - 1)
    return [first, steps - first]


def terms(objective: Objective, phase: int) -> Terms:
    """What takes part in a phase of the schedule."""
    guidance = objective.guidance
    if guidance is None:
        return Terms(guided=False, supervised=True)
    if guidance.first_share is None:
        return Terms(guided=True, supervised=True)
    return Terms(guided=phase == 0, supervised=phase > 0)


class Learner(nn.Module):
    """Everything with weights to learn: the network, and projections that serve training only.

    ``forward`` takes noisy and clean signals ``[batch, samples]``. The losses are computed in
    float32 whatever the precision of the network.
    """

    def __init__(self, network: UNet, objective: Objective) -> None:
        super().__init__()
        self.network = network
        guidance = objective.guidance
        self.method: nn.Module = nn.Identity() if guidance is None else guidance.alignment
        self._objective = objective

    def forward(self, noisy: Tensor, clean: Tensor, wanted: Terms) -> Losses:
        contract, guidance = self._objective.contract, self._objective.guidance
        taps: Sequence[str] = guidance.student_taps if guidance and wanted.guided else ()
        with torch.autocast(noisy.device.type, enabled=False):
            spectra = stft.analyse(contract, noisy)
            inputs = stft.features(contract, spectra)
        with capture(self.network, taps) as heard:
            mask = self.network(inputs).mask.float()
        with torch.autocast(noisy.device.type, enabled=False):
            estimate = stft.apply_mask(contract, spectra, mask)
            level = noisy.square().mean(dim=-1).sqrt()
            supervised = denoising_loss(contract, self._objective.loss, estimate, clean, level)
            alignment = torch.zeros_like(supervised.total)
            if guidance is not None and wanted.guided:
                with torch.no_grad():
                    taught = guidance.teacher.view(noisy, guidance.teacher_taps)
                scale = (1.0 / level.clamp_min(1e-5)).view(-1, 1, 1)
                target = stft.analyse(contract, clean)
                batch = Batch(spectra, target, active_frames(inputs), scale, contract.compression)
                taps_now = align_frames(heard, spectra.shape[1])
                learnt = View(estimate, {path: tap.float() for path, tap in taps_now.items()})
                alignment = self.method(learnt, taught, batch)
        total = alignment
        if wanted.supervised:
            total = supervised.total + alignment
        return Losses(total, supervised.total.detach(), alignment.detach(), supervised.si_sdr)
