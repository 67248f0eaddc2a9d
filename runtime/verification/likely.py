"""The name of the likely bug, beside a typical failure.

The ranges were measured by planting each bug in networks of ours: ``tests/runtime/verification``
plants them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.engines import Array


@dataclass(frozen=True)
class Symptom:
    """How two traces of the same model differ.

    ``first_frame`` is the first that differs by more than the limit, ``worst`` the largest
    difference relative to the largest value, ``outputs`` the names of those that differ in that
    frame, mask first.
    """

    first_frame: int
    worst: float
    outputs: tuple[str, ...]


def symptom(
    one: Sequence[Array], other: Sequence[Array], names: Sequence[str], limit: float
) -> Symptom | None:
    """How two traces ``[frames, *shape]`` differ by more than ``limit``; None if they do not."""
    pairs = [
        (name, left.astype(np.float64), right.astype(np.float64))
        for name, left, right in zip(names, one, other, strict=True)
    ]
    per_frame = {
        name: np.abs(left - right).reshape(len(left), -1).max(axis=1) for name, left, right in pairs
    }
    beyond = {name: ~(differences <= limit) for name, differences in per_frame.items()}
    frames = [int(np.argmax(where)) for where in beyond.values() if where.any()]
    if not frames:
        return None
    first = min(frames)
    worst = max(
        float(per_frame[name][first] / max(np.abs(left).max(), 1e-6)) for name, left, _ in pairs
    )
    concerned = tuple(name for name, where in beyond.items() if where[first])
    return Symptom(first, worst, concerned)


# Upper end of a range of relative differences → what was found to cause such.
BUCKETS: tuple[tuple[float, str], ...] = (
    (1e-3, "epsilon of a batch norm, or half-precision weights"),
    (3e-2, "a bias of the recurrent cell on the wrong side of its reset gate"),
    (3e-1, "a batch norm that was not folded, or padding on the wrong side"),
    (float("inf"), "gates or channels in another order, or a state fed to the wrong input"),
)


def likely_bug(symptom: Symptom) -> str:
    """One clause for a person to begin with; never a verdict."""
    if symptom.first_frame > 0:
        return (
            "equal at first, so the step is right: a state is lost, swapped or rounded on its way"
        )
    magnitude = next(cause for end, cause in BUCKETS if symptom.worst <= end)
    if symptom.outputs and "mask" not in symptom.outputs[0]:
        return f"the mask agrees, so look at the path of {symptom.outputs[0]}: {magnitude}"
    return magnitude
