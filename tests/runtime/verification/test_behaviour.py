"""Gates on what a model does: engines that misbehave in one way each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from runtime.artefact import GateResult
from runtime.engines import Array, Engine, Port, load_engine, rehearsal
from runtime.engines.native import find_compiler
from runtime.verification import behaviour
from runtime.verification.behaviour import causality, liveness, opened, reset
from runtime.verification.drift import drift
from runtime.verification.frames import Loop, loop, noise
from runtime.verification.frames import frames_of as features_of
from tests.runtime.tiny_models import tiny_sidecar
from tests.runtime.verification.edited_models import CONTRACT, generated, made

SIDECAR = tiny_sidecar(CONTRACT, "tflite-fp32")
FRAMES = features_of(CONTRACT, noise(CONTRACT, 1.0))
Step = Callable[[Array, Array], tuple[Array, Array]]


class Stepping:
    """An engine that computes mask and memory from features and memory by ``step``."""

    name = "stepping"
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()

    def __init__(self, step: Step) -> None:
        self._step = step

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        mask, memory = self._step(*inputs)
        return [mask.astype(np.float32), memory.astype(np.float32)]


def stepping(step: Step) -> Loop:
    return loop(Stepping(step), SIDECAR)


def sound_step(features: Array, memory: Array) -> tuple[Array, Array]:
    """A leaky memory."""
    memory = 0.9 * memory + 0.1 * features
    return memory[..., :2], memory


def test_a_sound_model_passes() -> None:
    model = stepping(sound_step)
    for gate in (liveness, reset, causality):
        assert gate(model, FRAMES).verdict == "pass"


# --- liveness -------------------------------------------------------------------------------------


def dead_mask(features: Array, memory: Array) -> tuple[Array, Array]:
    return np.ones_like(features[..., :2]), features


def dead_state(features: Array, memory: Array) -> tuple[Array, Array]:
    return features[..., :2], np.zeros_like(memory)


def no_numbers(features: Array, memory: Array) -> tuple[Array, Array]:
    return np.sqrt(features[..., :2] - 0.5), features


@pytest.mark.parametrize(
    ("step", "measured"),
    [
        (dead_mask, "mask does not move"),
        (dead_state, "memory_out does not move"),
        (no_numbers, "mask is no number"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_liveness_sees_what_is_stuck(step: Step, measured: str) -> None:
    gate = liveness(stepping(step), FRAMES)
    assert (gate.verdict, gate.measured) == ("fail", measured)
    assert "constant" in gate.likely


# --- reset and causality --------------------------------------------------------------------------


class Remembering:
    """Keeps a memory beside the states."""

    def __init__(self) -> None:
        self._kept = 0.0

    def __call__(self, features: Array, memory: Array) -> tuple[Array, Array]:
        mask = features[..., :2] + self._kept
        self._kept = float(features.mean())
        return mask, features


def test_reset_sees_a_hidden_memory() -> None:
    gate = reset(stepping(Remembering()), FRAMES)
    assert gate.verdict == "fail"
    assert "beside its states" in gate.likely


class Ahead:
    """Outputs share memory: what a step returned is changed by the next one, as with an engine
    that hands out views of its arena."""

    def __init__(self) -> None:
        self._mask = np.zeros((1, 1, CONTRACT.bins, 2), np.float32)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self._mask[...] = inputs[0][..., :2]
        return [self._mask, inputs[0]]


def test_causality_sees_outputs_that_share_memory() -> None:
    model = Loop(Ahead(), SIDECAR, (1,))  # type: ignore[arg-type]
    gate = causality(model, FRAMES)
    assert gate.verdict == "fail"
    assert "moved an earlier output" in gate.measured + gate.detail
    assert "share memory" in gate.likely


def late(features: Array, memory: Array) -> tuple[Array, Array]:
    """Answers with the frame before."""
    return memory[..., :2], features


def test_causality_sees_a_mask_that_does_not_know_its_frame() -> None:
    gate = causality(stepping(late), FRAMES)
    assert gate.verdict == "fail"
    assert "does not depend on input" in gate.measured


# --- drift ----------------------------------------------------------------------------------------


def drifted(step: Step, monkeypatch: pytest.MonkeyPatch, minutes: int = 8) -> GateResult:
    """Minutes of a hundred frames."""
    monkeypatch.setattr("runtime.verification.drift.PROBE_SECONDS", 0.2)
    still = np.zeros((100, CONTRACT.bins, 3), np.float32)
    sounds = {"noise": FRAMES[:60].repeat(2, axis=0)[:100], "silence": still}
    return drift(stepping(step), sounds, minutes)


def integrator(features: Array, memory: Array) -> tuple[Array, Array]:
    memory = memory + 0.01 * np.abs(features)
    return np.tanh(memory[..., :2]), memory


def growing(features: Array, memory: Array) -> tuple[Array, Array]:
    memory = 1.01 * memory + 1e-6
    return features[..., :2], memory


def overflowing(features: Array, memory: Array) -> tuple[Array, Array]:
    memory = 2.0 * memory + 1.0
    return features[..., :2], memory


@pytest.mark.parametrize(
    ("step", "measured"),
    [
        (integrator, "memory changes by"),
        (growing, "memory changes by"),
        (overflowing, "memory is no number"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_drift_sees_a_state_that_wanders(
    monkeypatch: pytest.MonkeyPatch, step: Step, measured: str
) -> None:
    gate = drifted(step, monkeypatch)
    assert gate.verdict == "fail", gate
    assert measured in gate.measured
    assert "integrator without leak" in gate.likely


def test_drift_sees_an_answer_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no state's level gave it away."""
    monkeypatch.setattr("runtime.verification.drift.LARGEST_CHANGE", np.inf)
    gate = drifted(integrator, monkeypatch)
    assert gate.verdict == "fail"
    assert "the same noise is answered otherwise" in gate.measured


def test_drift_passes_a_leaky_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drifted(sound_step, monkeypatch).verdict == "pass"


def test_minutes_that_repeat_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0

    def counted(features: Array, memory: Array) -> tuple[Array, Array]:
        nonlocal steps
        steps += 1
        return features[..., :2], features

    gate = drifted(counted, monkeypatch, minutes=60)
    assert gate.verdict == "pass"
    assert "2 minutes run, the others repeat them" in gate.detail
    assert steps < 1_000


def test_what_repeats_with_a_longer_period_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter of three hundred frames: of three minutes."""

    def every_third(features: Array, memory: Array) -> tuple[Array, Array]:
        following = memory.copy()
        following[..., 0] = (memory[..., 0] + 1.0) % 300.0
        return features[..., :2], following

    same = drifted(every_third, monkeypatch, minutes=6)  # the sixth minute is like the third
    other = drifted(every_third, monkeypatch, minutes=61)  # the 61st like the first
    assert (same.verdict, other.verdict) == ("pass", "fail")


def test_progress_grows_smoothly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.verification.drift.REPORTED", 10)
    told: list[float] = []
    sounds = {"noise": FRAMES, "more noise": FRAMES}
    drift(stepping(sound_step), sounds, 4, lambda stage, done: told.append(done))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert max(np.diff(told)) < 0.05


# --- loads ----------------------------------------------------------------------------------------


def test_loads_outlives_a_model_that_kills_its_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact = made(tmp_path, "tflite-fp32")
    here = os.getpid()

    def fatal(name: str, model: bytes) -> Engine:
        if os.getpid() != here:
            os.abort()
        return load_engine(name, model)

    monkeypatch.setattr(rehearsal, "load_engine", fatal)
    monkeypatch.setattr(rehearsal, "_passed", set())
    gate = opened(artefact)
    assert isinstance(gate, GateResult)
    assert (gate.name, gate.verdict) == ("loads", "fail")
    assert "crash" in gate.measured


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_loads_outlives_c_that_crashes(tmp_path: Path) -> None:
    def crash(text: str) -> str:
        start = text.index("{", text.index("void model_step("))
        return text[: start + 1] + "\n    *(volatile int *)0 = 0;\n" + text[start + 1 :]

    gate = opened(generated(made(tmp_path, "tflite-int8"), crash))
    assert isinstance(gate, GateResult)
    assert (gate.name, gate.verdict) == ("loads", "fail")
    assert "crash" in gate.measured


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_reset_calls_the_models_own(tmp_path: Path) -> None:
    sound = opened(generated(made(tmp_path, "tflite-int8")))
    assert isinstance(sound, Loop)
    assert behaviour.reset(sound, FRAMES).verdict == "pass"

    def lame(text: str) -> str:
        start = text.index("{", text.index("void model_reset("))
        return text[: start + 1] + "\n    if (m != 0) return;\n" + text[start + 1 :]

    (tmp_path / "lame").mkdir()
    spoilt = opened(generated(made(tmp_path / "lame", "tflite-int8"), lame))
    assert isinstance(spoilt, Loop)
    gate = behaviour.reset(spoilt, FRAMES)
    assert gate.verdict == "fail"
    assert "the model's reset leaves memory_in" in gate.measured
