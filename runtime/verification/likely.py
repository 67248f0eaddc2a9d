"""The name of the likely bug, beside a typical failure.

Which outputs of the first frame differ says where to look, and how much says what for. The ranges
were measured by planting each bug in networks of ours: ``tests/runtime/verification`` plants them
again, and docs/gates.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.engines import Array

RECURRENT = re.compile(r"gru|lstm|rnn|^dual\d|^full_")


@dataclass(frozen=True)
class Symptom:
    """How two traces of the same model differ, both from a fresh start.

    ``first_frame`` is the first that differs by more than the limit, ``worst`` the largest
    difference in it relative to the largest value, ``outputs`` the names of those that differ in
    that frame and ``agreeing`` of those that do not, mask first.
    """

    first_frame: int
    worst: float
    outputs: tuple[str, ...]
    agreeing: tuple[str, ...]

    @property
    def mask_agrees(self) -> bool:
        return any("mask" in name for name in self.agreeing)


def symptom(
    one: Sequence[Array], other: Sequence[Array], names: Sequence[str], limit: float
) -> Symptom | None:
    """How two traces ``[frames, *shape]`` differ by more than ``limit``; None if they do not."""
    differences, sizes = {}, {}
    for name, left, right in zip(names, one, other, strict=True):
        difference = np.abs(left.astype(np.float64) - right.astype(np.float64))
        differences[name] = difference.reshape(len(left), -1).max(axis=1)
        sizes[name] = max(float(np.abs(left.astype(np.float64)).max()), 1e-6)
    beyond = {name: ~(values <= limit) for name, values in differences.items()}  # NaN is beyond
    frames = [int(np.argmax(where)) for where in beyond.values() if where.any()]
    if not frames:
        return None
    first = min(frames)
    worst = max(float(values[first]) / sizes[name] for name, values in differences.items())
    return Symptom(
        first,
        worst,
        tuple(name for name, where in beyond.items() if where[first]),
        tuple(name for name, where in beyond.items() if not where[first]),
    )


# Upper end of a range of relative differences → what was found to cause such.
Buckets = tuple[tuple[float, str], ...]
EVERYWHERE: Buckets = (
    (5e-3, "weights or states in half precision, or another epsilon in a batch norm"),
)
STATES: Buckets = ((float("inf"), "it is lost, late, or exchanged with another on its way"),)
RECURRENCE: Buckets = (
    (
        0.3,
        "a bias on the wrong side of the reset gate, gates in another order or sense, "
        "or a frame flattened in another order",
    ),
    (0.85, "a frame flattened in another order"),
    (float("inf"), "sigmoid and tanh exchanged"),
)
ENCODER: Buckets = (
    (
        0.6,
        "a batch norm that was not folded, padding on the wrong side, or channels in another order",
    ),
    (
        float("inf"),
        "an activation that is missing, a batch norm that was not folded, "
        "or channels in another order",
    ),
)
DECODER: Buckets = (
    (0.9, "a batch norm that was not folded"),
    (float("inf"), "channels in another order where they unfold into bins"),
)


def likely_bug(symptom: Symptom) -> str:
    """One clause for a person to begin with; never a verdict."""
    if symptom.first_frame > 0:
        return "the first step is right: a state is lost, late, or exchanged with another"
    if not np.isfinite(symptom.worst):
        return "a value out of range: a root or logarithm of a negative number, or a division by 0"
    where, buckets = _place(symptom)
    cause = next(cause for end, cause in (*EVERYWHERE, *buckets) if symptom.worst <= end)
    return f"{where}: {cause}"


def _place(symptom: Symptom) -> tuple[str, Buckets]:
    """Where the first difference arises: behind the states that agree, before those that do not."""
    states = [name for name in symptom.outputs if "mask" not in name]
    if symptom.mask_agrees and states:
        return f"the mask agrees, {states[0]} does not", STATES
    if not states:
        return "all states agree, the way from them to the mask does not", DECODER
    if RECURRENT.search(states[0]):
        return f"the cell of {states[0]}", RECURRENCE
    return f"the layers before {states[0]}", ENCODER
