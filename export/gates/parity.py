"""Gate ``parity``: torch, the step graph and every float file compute the same function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from export.gates.recurrence import Runner, largest_difference, random_states, trace
from export.step_graph import StepGraph
from export.students import Student, in_double
from runtime.artefact import GateResult
from runtime.verification.likely import likely_bug, symptom

NAME = "parity"
LIMIT = 1e-4
LIKELY_FRAMES = 30


def parity(
    student: Student,
    runners: Mapping[str, Runner],
    features: npt.NDArray[np.float32],
) -> GateResult:
    """Largest difference of mask and states from torch, over ``features`` ``[frames, bins, 3]``.

    Torch computes in float64, so that its own rounding is not taken for a file's.

    Every route starts from the same random non-zero state and feeds its own states back.
    """
    graph = student.graph
    states = random_states(graph)
    with in_double(student):
        reference = trace(student, features, states)
    differences = {
        name: largest_difference(reference, trace(runner, features, states))
        for name, runner in runners.items()
    }
    worst = max(differences.values())
    failed = next((name for name, value in differences.items() if not value <= LIMIT), None)
    likely = "" if failed is None else _likely(graph, student, runners[failed], features)
    return GateResult(
        name=NAME,
        measured=f"{worst:.1e} over {len(features)} frames",
        limit=f"≤ {LIMIT:.0e}",
        verdict="pass" if worst <= LIMIT else "fail",
        detail=", ".join(f"{name} {value:.1e}" for name, value in differences.items()),
        likely=likely,
    )


def _likely(
    graph: StepGraph, one: Student, other: Runner, features: npt.NDArray[np.float32]
) -> str:
    """What two runs from a fresh start make of their difference; states that are only used wrongly
    do not show in their first frame."""
    states = [np.zeros(state.input.shape, np.float32) for state in graph.states]
    with in_double(one):
        left, right = (trace(runner, features[:LIKELY_FRAMES], states) for runner in (one, other))
    found = symptom(left, right, [tensor.name for tensor in graph.outputs], LIMIT)
    return (
        "only states far from zero show it: look at how a state is read"
        if found is None
        else likely_bug(found)
    )
