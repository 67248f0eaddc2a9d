"""Gate ``drift``: an hour of sound leaves the states where a few seconds left them.

Recurrent networks were seen to wander off in hours of use (the Fast-ULCNet paper reports it), and
rounding in the recurrence can feed itself. A minute of each kind of sound is repeated; the level of
the states in the last minute is compared with that in the third one, and the model's answer to the
same noise after an hour with its answer after three minutes.

A step is a function of features and states. So once the states at the end of a minute are, bit for
bit, those at the end of an earlier one, all that follows is a repetition of what lies between, for
ever; those minutes are known and not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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
SAMPLED = 16  # every so many frames a state's level is measured
REPORTED = 256  # every so many frames the progress is told

Report = Callable[[str, float], None]
Levels = list[FloatArray]  # root mean square of every element of each state, real values


@dataclass
class _Course:
    """What a model did under one repeated minute: per minute run, the levels during it and the
    states after it. ``period`` > 0: from ``returned`` on, minutes repeat with it."""

    sound: str
    levels: list[Levels] = field(default_factory=list)
    states: list[list[Array]] = field(default_factory=list)
    returned: int = 0
    period: int = 0

    def minute(self, number: int) -> int:
        """The minute run that minute ``number`` equals."""
        if number < len(self.levels):
            return number
        return self.returned + 1 + (number - self.returned - 1) % self.period


@dataclass(frozen=True)
class Change:
    """What an hour of a sound changed: of each state the level, relative to the level that it has
    under the loudest of the sounds, and the mean of masks that answer the same noise."""

    sound: str
    states: Mapping[str, float]
    answer: float
    finite: bool

    @property
    def worst(self) -> tuple[str, float]:
        return max(self.states.items(), key=lambda item: item[1], default=("no state", 0.0))


def drift(
    model: Loop, sounds: Mapping[str, FloatArray], minutes: int, progress: Report | None = None
) -> GateResult:
    """Run ``minutes`` (:data:`LEAST_MINUTES` at least) of each sound, features
    ``[frames, bins, 3]`` of a minute, repeated."""
    minutes = max(minutes, LEAST_MINUTES)
    report = progress or _silent
    courses = [
        _run(model, name, frames, minutes, _part(report, f"drift, {name}", index, len(sounds)))
        for index, (name, frames) in enumerate(sounds.items())
    ]
    ranges = _ranges(courses)
    changes = [_change(model, course, minutes, ranges) for course in courses]
    findings = [
        f"{one.sound}: {one.worst[0]} changes by {one.worst[1]:.0%}"
        for one in changes
        if not one.worst[1] <= LARGEST_CHANGE
    ]
    findings += [
        f"{one.sound}: the same noise is answered otherwise by {one.answer:.3f}"
        for one in changes
        if not one.answer <= LARGEST_ANSWER
    ]
    findings[:0] = [
        f"{one.sound}: {one.worst[0]} is no number" for one in changes if not one.finite
    ]
    return judged(
        "drift",
        findings,
        "; ".join(f"{one.sound} {one.worst[1]:.2%}" for one in changes) + f" in {minutes} minutes",
        f"states ≤ {LARGEST_CHANGE:.0%}, answers ≤ {LARGEST_ANSWER:g}",
        detail="; ".join(map(_told, changes, courses)) + f"; on {model.engine.name}",
        likely="a state is an integrator without leak, or rounding in the recurrence feeds itself",
    )


def _told(change: Change, course: _Course) -> str:
    repeats = ""
    if course.period:
        repeats = f", {len(course.levels)} minutes run, the others repeat them bit for bit"
    return f"{change.sound}: {change.worst[0]}, answers {change.answer:.4f}{repeats}"


def _run(
    model: Loop, sound: str, minute: FloatArray, minutes: int, say: Callable[[float], None]
) -> _Course:
    stored, states = model.store(minute), model.zeros()
    course, seen = _Course(sound), {_key(states): -1}
    for number in range(minutes):
        levels, states = _minute(model, stored, states, _part_of(say, number, minutes))
        course.levels.append(levels)
        course.states.append(states)
        if (before := seen.setdefault(_key(states), number)) < number:
            course.returned, course.period = before, number - before
            break
    say(1.0)
    return course


def _key(states: Sequence[Array]) -> bytes:
    return b"".join(state.tobytes() for state in states)


def _minute(
    model: Loop, frames: Array, states: list[Array], say: Callable[[float], None]
) -> tuple[Levels, list[Array]]:
    """Levels of the states over the frames, and the states after them."""
    sampled: list[list[Array]] = []
    for number, outputs in enumerate(model.steps(frames, states), start=1):
        states = model.following(outputs)
        if number % SAMPLED == 0:
            sampled.append(states)
        if number % REPORTED == 0:
            say(number / len(frames))
    levels = []
    for place, series in zip(model.links, zip(*sampled, strict=True), strict=True):
        real = dequantize(np.stack(series), model.sidecar.outputs[place])
        levels.append(np.sqrt(np.mean(np.square(real, dtype=np.float64), axis=0)))
    return levels, states


def _ranges(courses: Sequence[_Course]) -> list[float]:
    """The level of each state, settled, under the sound that moves it most."""
    settled = [course.levels[course.minute(SETTLED)] for course in courses]
    return [
        max(float(np.linalg.norm(level)) for level in state) for state in zip(*settled, strict=True)
    ]


def _change(model: Loop, course: _Course, minutes: int, ranges: Sequence[float]) -> Change:
    contract = model.sidecar.contract
    probe = model.store(frames_of(contract, noise(contract, PROBE_SECONDS, seed=1)))
    then, now = course.minute(SETTLED), course.minute(minutes - 1)
    answers = [_answer(model, probe, course.states[minute]) for minute in (then, now)]
    names = {state.input: state.name for state in model.sidecar.states}
    changes = {
        names[spec.name]: float(np.linalg.norm(after - before)) / max(range_, 1e-12)
        for spec, before, after, range_ in zip(
            model.sidecar.inputs[1:], course.levels[then], course.levels[now], ranges, strict=True
        )
    }
    finite = all(bool(np.isfinite(level).all()) for level in course.levels[now])
    return Change(course.sound, changes, float(np.mean(np.abs(answers[1] - answers[0]))), finite)


def _answer(model: Loop, probe: Array, states: list[Array]) -> FloatArray:
    masks = model.mask(model.trace(probe, states)[0])
    return masks[round(len(masks) * PROBE_SKIPPED) :]


def _part(report: Report, stage: str, index: int, parts: int) -> Callable[[float], None]:
    return lambda done: report(stage, (index + min(done, 1.0)) / parts)


def _part_of(say: Callable[[float], None], number: int, parts: int) -> Callable[[float], None]:
    return lambda done: say((number + done) / parts)


def _silent(stage: str, fraction: float) -> None:
    """The progress of a caller who does not want to know."""
