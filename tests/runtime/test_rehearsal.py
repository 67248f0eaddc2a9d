"""The first load of a model in a child: whatever it does there, this process goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.engines import Array, Port, rehearsal
from runtime.engines.rehearsal import rehearse
from runtime.modelfile.refusal import ModelRefused
from runtime.stft import StftContract
from tests.runtime.tiny_models import Kernel, model_bytes

SOUND = model_bytes(StftContract(), "tflite-int8", Kernel())


class Beast:
    """An engine that does something else than computing."""

    name = "litert"
    inputs = (Port("x", (1,), "float32"),)
    outputs = inputs

    def __init__(self, deed: Callable[[], Any]) -> None:
        self._deed = deed

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self._deed()
        return list(inputs)


def grab() -> None:
    """More memory than a rehearsal may take, and a place in it for every page."""
    np.ones(1 << 29, np.uint8)


def spin() -> None:
    while True:
        pass


def complain() -> None:
    raise RuntimeError("[ENGINE] : 1 : FAIL : the sum\x1b[31m is wrong.\n")


def run_out() -> None:
    raise RuntimeError(
        f"[ENGINE] : 1 : FAIL : {'far ' * 99} Failed to allocate memory for a buffer"
    )


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_passed", set())
    monkeypatch.setattr(rehearsal, "CPU_SECONDS", 1)


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        (os.abort, "makes the engine litert crash (signal 6)"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "makes the engine litert crash (signal 11)"),
        (lambda: os._exit(0), "makes the engine litert end the process"),
        (grab, "makes the engine litert take more than 320 MiB of memory"),
        (spin, "keeps the engine litert busy for more than 1 s"),
        (run_out, "makes the engine litert take more than 320 MiB of memory"),
        (complain, "does not run in the engine litert: the sum [31m is wrong"),
    ],
)
def test_misdeeds_are_told(
    monkeypatch: pytest.MonkeyPatch, deed: Callable[[], Any], sentence: str
) -> None:
    monkeypatch.setattr(rehearsal, "load_engine", lambda name, model: Beast(deed))
    with pytest.raises(ModelRefused) as refused:
        rehearse("litert", b"", "0", "x.tflite")
    assert refused.value.message == f"x.tflite {sentence}."
    assert refused.value.hint


def test_one_that_sleeps_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "WALL_SECONDS", 0.3)
    monkeypatch.setattr(rehearsal, "load_engine", lambda name, model: Beast(lambda: time.sleep(60)))
    with pytest.raises(ModelRefused, match="busy without an end"):
        rehearse("litert", b"", "0", "x.tflite")


def test_one_that_is_slow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "STEP_SECONDS", -1.0)
    with pytest.raises(ModelRefused, match=r"takes 0\.0 s for one step"):
        rehearse("litert", SOUND, "0", "x.tflite")


def test_what_passed_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rehearse("litert", SOUND, "0", "x.tflite")
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked again"))
    rehearse("litert", SOUND, "0", "x.tflite")


def test_no_child_and_no_pipe_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before, children = os.listdir("/proc/self/fd"), _children()
    monkeypatch.setattr(rehearsal, "load_engine", lambda name, model: Beast(os.abort))
    with pytest.raises(ModelRefused):
        rehearse("litert", b"", "0", "x.tflite")
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert _children() == children


def _children() -> set[str]:
    """Children of this process, whoever made them: other tests may have left a helper running."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
