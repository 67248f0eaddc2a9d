"""Gates on what a model does, run frame by frame: ``loads``, ``liveness``, ``reset``,
``causality``."""

from __future__ import annotations

import numpy as np

from runtime.artefact import Artefact, GateResult
from runtime.engines import Array, EngineMissing, open_engine
from runtime.stft import FloatArray
from runtime.verification.frames import Loop, loop
from runtime.verification.results import judged, unavailable
from targets.errors import InputError

LEAST_PART = 0.01  # of the mask's values; a live network moves nearly all of them
PROBED = (1, 17, 39)


def opened(artefact: Artefact, engine: str | None = None) -> Loop | GateResult:
    """The model in an engine, after a first load in a child process; or why not, as a gate."""
    name, limit = "loads", "loads and runs a step in a child process"
    try:
        return loop(open_engine(artefact, engine), artefact.sidecar)
    except EngineMissing as error:
        return unavailable(name, limit, f"{error.message} {error.hint}")
    except InputError as error:
        return judged(name, [error.message], "", limit)


def loads(model: Loop) -> GateResult:
    """That it got this far."""
    limit = "loads and runs a step in a child process"
    return judged("loads", [], f"by {model.engine.name}", limit)


def liveness(model: Loop, frames: FloatArray) -> GateResult:
    """Outputs for audio ``[n, bins, 3]`` against those for silence: the mask and every state move,
    and all are numbers."""
    silent = np.zeros_like(frames)
    heard = model.trace(model.store(frames), model.zeros())
    quiet = model.trace(model.store(silent), model.zeros())
    names = [spec.name for spec in model.sidecar.outputs]
    parts = {
        name: float(np.mean(one != other))
        for name, one, other in zip(names, heard, quiet, strict=True)
    }
    findings = [f"{name} does not move" for name, part in parts.items() if part == 0.0]
    if parts[names[0]] < LEAST_PART:
        findings.append(f"{parts[names[0]]:.1%} of the mask moves")
    findings += [
        f"{name} is no number"
        for name, values in zip(names, heard, strict=True)
        if not np.isfinite(values).all()
    ]
    return judged(
        "liveness",
        findings,
        f"{parts[names[0]]:.0%} of the mask moves",
        f"≥ {LEAST_PART:.0%}, every state moves",
        detail="audio against silence",
        likely="a scale near zero pins it, or an output is wired to a constant",
    )


def reset(model: Loop, frames: FloatArray) -> GateResult:
    """After audio and a reset the model does, bit for bit, what it did when it was fresh.

    A model that has a reset of its own (generated C) must leave the states of a fresh start.
    """
    stored = model.store(frames)
    half = len(stored) // 2
    fresh = model.trace(stored[:half], model.zeros())
    model.trace(stored[half:], model.zeros())
    begin = model.reset()
    names = [spec.name for spec in model.sidecar.inputs[1:]]
    findings = [
        f"the model's reset leaves {name} at something else than zero"
        for name, state, zero in zip(names, begin, model.zeros(), strict=True)
        if not np.array_equal(state, zero)
    ]
    again = model.trace(stored[:half], model.zeros())
    differing = sum(
        int(np.count_nonzero(one != other)) for one, other in zip(fresh, again, strict=True)
    )
    if differing:
        findings.append(f"{differing} values differ")
    return judged(
        "reset",
        findings,
        "equal to a fresh start",
        "0 values differ",
        likely="the engine or the model keeps something beside its states",
    )


def causality(model: Loop, frames: FloatArray) -> GateResult:
    """Moving one frame leaves every earlier output as it was, and moves its own."""
    stored = model.store(frames[: max(PROBED) + 1])
    before = model.trace(stored, model.zeros())
    findings = []
    for frame in PROBED:
        moved = stored.copy()
        moved[frame] = moved[frame, ..., ::-1, :]  # a spectrum upside down
        after = model.trace(moved, model.zeros())
        findings += _leaks(before, after, frame)
    return judged(
        "causality",
        findings,
        "earlier outputs unchanged",
        "exactly 0",
        detail=f"frames {PROBED} moved",
        likely="outputs of several steps share memory, or something is kept beside the states",
    )


def _leaks(before: list[Array], after: list[Array], frame: int) -> list[str]:
    findings = []
    if any(np.any(one[:frame] != other[:frame]) for one, other in zip(before, after, strict=True)):
        findings.append(f"input {frame} moved an earlier output")
    if not np.any(before[0][frame] != after[0][frame]):
        findings.append(f"mask {frame} does not depend on input {frame}")
    return findings
