"""Engines without a model, and the way tests call a command."""

from __future__ import annotations

from collections.abc import Sequence

import click
import numpy as np
import pytest

from runtime.doctor import installed_version
from runtime.engines import Array, Port
from runtime.stft import FloatArray
from targets.command import run

needs_tflm = pytest.mark.skipif(
    not installed_version(("tflite-micro",)), reason="tflite-micro is built for Linux x86-64 only"
)


class FakeEngine:
    """Answers every step with one mask; the memory it returns is the features it was given."""

    name = "fake"

    def __init__(self, mask: FloatArray) -> None:
        self._mask = mask[np.newaxis, np.newaxis]
        bins, channels = mask.shape
        self.inputs: tuple[Port, ...] = tuple(
            Port(n, (1, 1, bins, 3), "float32") for n in ("features", "memory_in")
        )
        self.outputs: tuple[Port, ...] = (
            Port("mask", (1, 1, bins, channels), "float32"),
            Port("memory_out", (1, 1, bins, 3), "float32"),
        )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        return [self._mask, inputs[0]]


def gain_engine(bins: int, gain: float = 1.0, mask_channels: int = 2) -> FakeEngine:
    """The same real gain in every bin."""
    mask = np.zeros((bins, mask_channels), dtype=np.float32)
    mask[:, 0] = gain
    return FakeEngine(mask)


class Outcome:
    """Exit status and what was written where."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


def invoke(capfd: pytest.CaptureFixture[str], command: click.Command, *args: object) -> Outcome:
    """Run a command as the program would, with its errors turned into sentences."""
    capfd.readouterr()
    status = run(command, command.name or "command", [str(argument) for argument in args])
    out, err = capfd.readouterr()
    return Outcome(status, out, err)
