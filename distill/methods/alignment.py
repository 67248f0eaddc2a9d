"""The distillation loss of a recipe: its methods by name, weighted together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill.methods.attention import Attention
from distill.methods.cosine_latent import CosineLatent
from distill.methods.hint import Hint
from distill.methods.output import Output
from distill.methods.pairs import DefaultTaps, Pair, latent_pairs, level_pairs, resolve
from distill.methods.relational import Relational
from distill.methods.selective import Selective
from distill.methods.settings import MethodSettings, TapPair, Tapped
from distill.methods.similarity import Similarity
from distill.taps import parse_tap, tap_paths
from distill.views import Batch, TapShape, View
from targets.errors import InputError


class Activations(NamedTuple):
    """A method that compares activations: its module, of settings and a pair, maps both sides'
    ``[batch, time, frequency, channels]`` and the active frames ``[batch, time]`` to a scalar."""

    build: Callable[[Any, Pair], nn.Module]
    default: DefaultTaps


class Estimates(NamedTuple):
    """A method that compares outputs: its module, of settings, maps both estimates and the batch
    to a scalar."""

    build: Callable[[Any], nn.Module]


TABLE: Mapping[str, Activations | Estimates] = {
    "cosine-latent": Activations(CosineLatent, latent_pairs),
    "output": Estimates(Output),
    "similarity": Activations(Similarity, level_pairs),
    "attention": Activations(Attention, level_pairs),
    "hint": Activations(Hint, latent_pairs),
    "relational": Activations(Relational, latent_pairs),
    "selective": Estimates(Selective),
}

NAMES = ("none", *TABLE)


class Alignment(nn.Module):
    """Weighted sum of the losses of several methods.

    A method with several taps is the mean over them, so that its weight means the same whatever
    their number. Losses are computed in float32 or better, whatever the networks ran in.
    """

    def __init__(
        self,
        settings: Sequence[MethodSettings],
        pairs: Sequence[Sequence[TapPair]],
        losses: Sequence[Sequence[nn.Module]],
    ) -> None:
        super().__init__()
        self.settings, self.pairs = tuple(settings), tuple(map(tuple, pairs))
        self.losses = nn.ModuleList(nn.ModuleList(group) for group in losses)

    def forward(self, student: View, teacher: View, batch: Batch) -> Tensor:
        """The weighted sum, a scalar; zero where no method is named."""
        total = torch.zeros((), device=student.estimate.device)
        for settings, value in zip(
            self.settings, self.values(student, teacher, batch), strict=True
        ):
            total = total + settings.weight * value
        return total

    def values(self, student: View, teacher: View, batch: Batch) -> list[Tensor]:
        """The unweighted loss of each method, in the order of the recipe."""
        with torch.autocast(student.estimate.device.type, enabled=False):
            return [
                self._value(pairs, list(group.children()), student, teacher, batch)
                for pairs, group in zip(self.pairs, self.losses, strict=True)
            ]

    def _value(
        self,
        pairs: Sequence[TapPair],
        losses: Sequence[nn.Module],
        student: View,
        teacher: View,
        batch: Batch,
    ) -> Tensor:
        if not pairs:
            _same_frames("the estimates", student.estimate, teacher.estimate)
            return losses[0](student.estimate, teacher.estimate.detach(), batch)
        values = []
        for pair, loss in zip(pairs, losses, strict=True):
            ours, theirs = student.taps[pair.student], teacher.taps[pair.teacher]
            _same_frames(f"{pair.student!r} and {pair.teacher!r}", ours, theirs)
            values.append(loss(_precise(ours), _precise(theirs.detach()), batch.active))
        return torch.stack(values).mean()


def _precise(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _same_frames(what: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape[:2] != teacher.shape[:2]:
        raise InputError(
            f"Student and teacher differ in batch or time at {what}: "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}.",
            hint="Both must give one vector or one spectrum per frame of the contract.",
        )


def build_alignment(
    methods: Sequence[MethodSettings],
    student: Mapping[str, TapShape],
    teacher: Mapping[str, TapShape],
) -> Alignment:
    """The loss of ``methods`` for activations of these shapes (see :func:`wanted_taps`).

    Raises InputError for a tap without a shape and for shapes that cannot be matched.
    """
    paths = [[parse_tap(tap).path for tap in shapes] for shapes in (student, teacher)]
    pairs, losses = [], []
    for settings in methods:
        method = TABLE[settings.method]
        chosen = _pairs(settings, *paths)
        pairs.append(chosen)
        if isinstance(method, Estimates):
            losses.append([method.build(settings)])
        else:
            losses.append(
                [
                    method.build(settings, Pair(pair, student[pair.student], teacher[pair.teacher]))
                    for pair in chosen
                ]
            )
    return Alignment(methods, pairs, losses)


def wanted_taps(
    methods: Sequence[MethodSettings], student: nn.Module, teacher_paths: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Taps of student and teacher that ``methods`` compare, as written, each once.

    ``teacher_paths`` are what the teacher can be tapped at. Raises InputError for a tap that does
    not exist, listing those that do.
    """
    pairs = [
        pair for settings in methods for pair in _pairs(settings, tap_paths(student), teacher_paths)
    ]
    return (
        list(dict.fromkeys(pair.student for pair in pairs)),
        list(dict.fromkeys(pair.teacher for pair in pairs)),
    )


def _pairs(
    settings: MethodSettings, student: Sequence[str], teacher: Sequence[str]
) -> tuple[TapPair, ...]:
    method = TABLE[settings.method]
    if isinstance(method, Estimates) or not isinstance(settings, Tapped):
        return ()
    return resolve(settings, method.default, student, teacher)
