"""Which activation of the student is compared with which of the teacher."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill.methods.settings import TapPair, Tapped
from distill.taps import existing, require_tap
from distill.views import TapShape
from targets.errors import InputError

LATENT = "bottleneck.latent"


@dataclass(frozen=True)
class Pair:
    """Two taps and what does not change in their shapes."""

    taps: TapPair
    student: TapShape
    teacher: TapShape

    def __str__(self) -> str:
        return (
            f"{self.taps.student!r} of the student ({_size(self.student)}) and "
            f"{self.taps.teacher!r} of the teacher ({_size(self.teacher)})"
        )


def _size(shape: TapShape) -> str:
    return f"{shape.frequency} bins × {shape.channels} channels"


def latent_pairs(_student: Sequence[str], _teacher: Sequence[str]) -> tuple[TapPair, ...]:
    """The bottleneck's latent on both sides."""
    return (TapPair(student=LATENT, teacher=LATENT),)


def level_pairs(student: Sequence[str], teacher: Sequence[str]) -> tuple[TapPair, ...]:
    """The latent, then the levels of both encoders as far as both have some, the deepest first."""
    levels = zip(_levels(student), _levels(teacher), strict=False)
    return (*latent_pairs(student, teacher), *(TapPair(student=s, teacher=t) for s, t in levels))


def _levels(paths: Sequence[str]) -> list[str]:
    found = [path for path in paths if re.fullmatch(r"encoder\.\d+", path)]
    return sorted(found, key=lambda path: -int(path.partition(".")[2]))


DefaultTaps = Callable[[Sequence[str], Sequence[str]], tuple[TapPair, ...]]


def resolve(
    settings: Tapped, default: DefaultTaps, student: Sequence[str], teacher: Sequence[str]
) -> tuple[TapPair, ...]:
    """The pairs that ``settings`` name, or its defaults among the paths of both networks.

    Raises InputError for a path that one of them does not have, listing those it has.
    """
    pairs = settings.taps or default(student, teacher)
    for pair in pairs:
        for tap, known, owner in (
            (pair.student, student, "student"),
            (pair.teacher, teacher, "teacher"),
        ):
            if settings.taps:
                require_tap(tap, known, owner)
            elif tap not in known:
                raise InputError(
                    f"{settings.method} taps {tap!r} by default, which the {owner} does not have.",
                    hint=f"Name its `taps`. {existing(tap, known)}",
                )
    return pairs
