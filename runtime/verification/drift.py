"""Gate ``drift``: an hour of sound leaves the states where a few seconds left them.

Recurrent networks were seen to wander off in hours of use (the Fast-ULCNet paper reports it), and
rounding in the recurrence can feed itself. A minute of each kind of sound is repeated; what the
states hold in the last minute is compared with the third one, and the model's answer to the same
noise after an hour with its answer after a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from runtime.artefact import GateResult
from runtime.engines import Array
from runtime.stepper import dequantize
from runtime.stft import FloatArray
from runtime.verification.frames import Loop, frames_of, noise
from runtime.verification.results import judged

SETTLED = 2  # minutes after which the states count as settled
LEAST_MINUTES = 4
PROBE_SECONDS = 4.0
PROBE_SKIPPED = 0.5  # of it: the part in which the answer may still depend on what came before
LARGEST_CHANGE = 0.05  # of a state's level, settled to last minute
LARGEST_ANSWER = 0.02  # mean change of the mask's values, whose range is 1

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Drift:
    """What changed under one kind of sound: the state that changed most, relative to its level,
    and the mean change of the masks that answer the same noise."""

    sound: str
    state: str
    change: float
    answer: float
    finite: bool


def drift(
    model: Loop, sounds: Mapping[str, FloatArray], minutes: int, progress: Report | None = None
) -> GateResult:
    """Run ``minutes`` (:data:`LEAST_MINUTES` at least) of each sound, features
    ``[frames, bins, 3]`` of a minute, repeated."""
    minutes = max(minutes, LEAST_MINUTES)
    report = progress or _silent
    found = []
    for index, (name, minute) in enumerate(sounds.items()):
        say = _part(report, f"{minutes} minutes of {name}", index, len(sounds))
        found.append(_drift(model, name, minute, minutes, say))
    findings = [
        f"{one.sound}: {one.state} changes by {one.change:.0%}"
        for one in found
        if not one.change <= LARGEST_CHANGE
    ]
    findings += [
        f"{one.sound}: the same noise is answered otherwise by {one.answer:.3f}"
        for one in found
        if not one.answer <= LARGEST_ANSWER
    ]
    findings += [f"{one.sound}: no numbers any more" for one in found if not one.finite]
    worst = max(found, key=lambda one: one.change)
    return judged(
        "drift",
        findings,
        f"{worst.change:.1%} ({worst.sound}, {worst.state}) in {minutes} minutes",
        f"states ≤ {LARGEST_CHANGE:.0%}, answers ≤ {LARGEST_ANSWER:g}",
        detail="; ".join(f"{one.sound}: {one.change:.2%}, {one.answer:.4f}" for one in found)
        + f"; on {model.engine.name}",
        likely="a state is an integrator without leak, or rounding in the recurrence feeds itself",
    )


def _drift(
    model: Loop, sound: str, minute: FloatArray, minutes: int, say: Callable[[float], None]
) -> Drift:
    contract = model.sidecar.contract
    probe = model.store(frames_of(contract, noise(contract, PROBE_SECONDS, seed=1)))
    stored = model.store(minute)
    states = model.zeros()
    settled: list[Array] = []
    answers = []
    last: list[Array] = []
    for number in range(minutes):
        levels, states = _minute(model, stored, states)
        if number == SETTLED:
            settled = levels
            answers.append(_answer(model, probe, states))
        last = levels
        say((number + 1) / minutes)
    answers.append(_answer(model, probe, states))
    changes = [
        float(np.linalg.norm(now - then) / max(float(np.linalg.norm(then)), 1e-6 * then.size))
        for then, now in zip(settled, last, strict=True)
    ]
    names = [state.name for state in model.sidecar.states] or ["no state"]
    place = int(np.argmax(changes)) if changes else 0
    return Drift(
        sound,
        names[place],
        changes[place] if changes else 0.0,
        float(np.mean(np.abs(answers[1] - answers[0]))),
        all(bool(np.isfinite(level).all()) for level in last),
    )


def _minute(model: Loop, frames: Array, states: list[Array]) -> tuple[list[Array], list[Array]]:
    """Root mean square of every state element over the frames, in real values, and the states
    after them."""
    sums = [np.zeros(state.shape, np.float64) for state in states]
    specs = [model.sidecar.outputs[place] for place in model.links]
    for outputs in model.steps(frames, states):
        states = model.following(outputs)
        for total, state, spec in zip(sums, states, specs, strict=True):
            total += np.square(dequantize(state, spec), dtype=np.float64)
    return [np.sqrt(total / len(frames)) for total in sums], states


def _answer(model: Loop, probe: Array, states: list[Array]) -> FloatArray:
    masks = model.mask(model.trace(probe, states)[0])
    return masks[round(len(masks) * PROBE_SKIPPED) :]


def _part(report: Report, stage: str, index: int, parts: int) -> Callable[[float], None]:
    return lambda done: report(stage, (index + min(done, 1.0)) / parts)


def _silent(stage: str, fraction: float) -> None:
    """The progress of a caller who does not want to know."""
