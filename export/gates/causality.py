"""Gate ``causality``: no output depends on a later input, shown twice.

Moving the input at one frame must leave every earlier output exactly as it was, and a NaN at one
frame must not reach any earlier output. Both must reach that frame's own output, or the probe
itself would be worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from export.executor import StepExecutor
from export.students import Student
from runtime.artefact import GateResult

NAME = "causality"
FRAMES = 40
PROBED = (1, 17, FRAMES - 1)

Features = npt.NDArray[np.float32]
Masks = Callable[[Features], Features]


def causality(student: Student) -> GateResult:
    """Both probes on the torch network over a sequence, and on the step graph."""
    rng = np.random.default_rng(0)
    graph = student.graph
    features = rng.normal(size=(1, FRAMES, graph.features.shape[2], 3)).astype(np.float32)
    routes: dict[str, Masks] = {
        "torch": student.masks,
        "step graph": StepExecutor(graph).masks,
    }
    findings = [
        f"{route}: {finding}"
        for route, masks in routes.items()
        for frame in PROBED
        for finding in _probe(masks, features, frame)
    ]
    return GateResult(
        name=NAME,
        measured=findings[0] if findings else "earlier outputs unchanged",
        limit="exactly 0, no NaN before the probe",
        verdict="fail" if findings else "pass",
        detail=f"{len(findings)} findings; perturbation and NaN at frames {PROBED} of {FRAMES}",
    )


def _probe(masks: Masks, features: Features, frame: int) -> list[str]:
    before = masks(features)
    moved, spoiled = features.copy(), features.copy()
    moved[:, frame] += 1.0
    spoiled[:, frame] = np.nan
    after = masks(moved)
    with np.errstate(invalid="ignore"):
        poisoned = masks(spoiled)
    findings = []
    if change := float(np.max(np.abs(after[:, :frame] - before[:, :frame]))):
        findings.append(f"input {frame} moved an earlier output by {change:.1e}")
    if np.isnan(poisoned[:, :frame]).any():
        findings.append(f"a NaN at input {frame} reached an earlier output")
    if np.array_equal(after[:, frame], before[:, frame]) or not np.isnan(poisoned[:, frame]).any():
        findings.append(f"output {frame} does not depend on input {frame}")
    return findings
