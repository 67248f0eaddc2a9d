"""LiteRT (TensorFlow Lite): XNNPACK for speed, the reference kernels as an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.engines import Array, Port, missing, unreadable
from runtime.engines.quiet import captured_stderr


class LiteRtEngine:
    """Runs a TFLite step model on one thread.

    The reference kernels and XNNPACK differ by design (about 1 % of int8 values by one step).
    Raises EngineMissing without ai-edge-litert, InputError for a model it cannot load.
    """

    def __init__(self, model: bytes, reference: bool = False) -> None:
        self.name = "litert-reference" if reference else "litert"
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise missing(self.name) from error
        resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        try:
            with captured_stderr():  # it announces its delegate there
                self._interpreter: Any = Interpreter(
                    model_content=model,
                    num_threads=1,
                    experimental_op_resolver_type=resolver,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, TypeError) as error:
            raise unreadable(self.name, error) from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        self.inputs = tuple(_port(details) for details in inputs)
        self.outputs = tuple(_port(details) for details in outputs)
        self._input_indices = [details["index"] for details in inputs]
        self._output_indices = [details["index"] for details in outputs]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.feed(inputs)
        self.compute()
        # get_tensor copies: views into the arena would change under the caller at the next step.
        return [self._interpreter.get_tensor(index) for index in self._output_indices]

    def feed(self, inputs: Sequence[Array]) -> None:
        """Copy the inputs of a step to where the interpreter wants them."""
        for index, value in zip(self._input_indices, inputs, strict=True):
            self._interpreter.set_tensor(index, value)

    def compute(self) -> None:
        """The step alone, of inputs that were fed."""
        self._interpreter.invoke()

    def tensor_bytes(self) -> int:
        """Bytes of all tensors together, constants included, none sharing memory."""
        return sum(
            int(np.prod(details["shape"], dtype=np.int64)) * np.dtype(details["dtype"]).itemsize
            for details in self._interpreter.get_tensor_details()
        )

    def weights_to_unpack(self) -> str | None:
        """The type of weights that a float32 model has to unpack before use, if it has such."""
        tensors = self._interpreter.get_tensor_details()
        if any(details["dtype"] == np.float16 for details in tensors):
            return "float16"
        computes_in_float = any(port.dtype == "float32" for port in self.inputs)
        per_channel = any(
            details["dtype"] == np.int8 and len(details["quantization_parameters"]["scales"]) > 1
            for details in tensors
        )
        return "int8" if computes_in_float and per_channel else None


def _port(details: dict[str, Any]) -> Port:
    shape = tuple(int(size) for size in details["shape"])
    return Port(str(details["name"]), shape, np.dtype(details["dtype"]).name)
