"""TensorFlow Lite for Microcontrollers, in its host build."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.engines import Array, Port, missing, unreadable
from runtime.engines.litert import LiteRtEngine
from targets.errors import InputError

SPARE_ARENA = 1 << 20


class TflmEngine:
    """Runs a TFLite step model in the microcontroller interpreter.

    TFLM checks next to nothing: a broken model runs without complaint, and an arena that is too
    small can end the process. So LiteRT must load the model first, and the arena is large enough
    for every tensor to have its own place.

    A float32 model whose weights lie in the file as float16 or as int8 is refused: TFLM cannot
    unpack float16, and of a weight's scales it would take the first for all channels and go on.

    Raises EngineMissing without tflite-micro or ai-edge-litert, InputError for a model that
    either cannot load.
    """

    name = "tflm"

    def __init__(self, model: bytes) -> None:
        try:
            from tflite_micro import runtime
        except ImportError as error:
            raise missing(self.name) from error
        checked = LiteRtEngine(model, reference=True)
        if (stored := checked.weights_to_unpack()) is not None:
            raise InputError(
                f"The engine tflm does not run this model: TFLM cannot unpack {stored} weights.",
                hint="Run it with litert; for a microcontroller export tflite-int8.",
            )
        arena = SPARE_ARENA + 2 * (checked.tensor_bytes() + len(model))
        try:
            self._interpreter: Any = runtime.Interpreter.from_bytes(model, arena_size=arena)
        except (ValueError, RuntimeError, TypeError) as error:
            raise unreadable(self.name, error) from error
        self.inputs = tuple(
            _port(self._interpreter.get_input_details(index))
            for index in range(len(checked.inputs))
        )
        self.outputs = tuple(
            _port(self._interpreter.get_output_details(index))
            for index in range(len(checked.outputs))
        )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.feed(inputs)
        self.compute()
        return [self._interpreter.get_output(index) for index in range(len(self.outputs))]

    def feed(self, inputs: Sequence[Array]) -> None:
        """Copy the inputs of a step into the arena."""
        for index, value in enumerate(inputs):
            self._interpreter.set_input(value, index)

    def compute(self) -> None:
        """The step alone, of inputs that were fed."""
        self._interpreter.invoke()

    def print_allocations(self) -> None:
        """Write the arena report to file descriptor 2 (from C), valid after a ``run``."""
        self._interpreter.print_allocations()


def _port(details: dict[str, Any]) -> Port:
    shape = tuple(int(size) for size in details["shape"])
    return Port(None, shape, np.dtype(details["dtype"]).name)
