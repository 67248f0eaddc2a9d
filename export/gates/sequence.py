"""Gate ``sequence-equals-step``: training sees sequences, devices see steps, both one function."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export.gates.recurrence import largest_difference, random_states, trace
from export.students import Student, in_double
from runtime.artefact import GateResult

NAME = "sequence-equals-step"
LIMIT = 1e-5


def sequence_equals_step(student: Student, features: npt.NDArray[np.float32]) -> GateResult:
    """Masks of ``forward`` against ``step`` frame by frame over ``features`` ``[frames, bins, 3]``.

    Where ``forward`` takes and returns states, both start from the same non-zero ones and the last
    are compared too, in float64: there only the formula can differ. The torch code alone is tested;
    the graph names the states.
    """
    resumes = student.sequencer.resumes
    states = random_states(student.graph) if resumes else student.initial_states()
    with in_double(student):
        stepped = trace(student, features, states)
        whole = student.sequencer.run(features, states)
    pairs = [(whole[0], stepped[0][:, 0, 0])]
    pairs += [(last, series[-1]) for last, series in zip(whole[1:], stepped[1:], strict=resumes)]
    difference = largest_difference(*zip(*pairs, strict=True))
    passed = difference <= LIMIT
    return GateResult(
        name=NAME,
        measured=f"{difference:.1e} over {len(features)} frames",
        limit=f"≤ {LIMIT:.0e}",
        verdict="pass" if passed else "fail",
        detail="largest difference of mask and states, torch forward against step",
        likely="" if passed else _likely(*pairs[0]),
    )


def _likely(whole: npt.NDArray[np.float32], stepped: npt.NDArray[np.float32]) -> str:
    """Two sequences of masks ``[frames, bins, channels]``."""
    beyond = ~(np.abs(whole - stepped).max(axis=(1, 2)) <= LIMIT)
    if not beyond.any():
        return "a state that step leaves as the next one does not read it"
    first = int(np.argmax(beyond))
    if first:
        return f"equal for {first} frames: a history in step is too short, late, or not carried"
    return "step reads a state otherwise than forward, or computes a frame by another formula"
