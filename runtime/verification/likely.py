"""The name of the likely bug, beside a typical failure.

The ranges were measured by planting each bug in networks of ours: ``tests/runtime/verification``
plants them again.
"""

from __future__ import annotations

from dataclasses import dataclass


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
