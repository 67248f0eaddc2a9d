"""TFLiteConverter on a rebuilt step graph.

The graph travels as a SavedModel with a signature: from concrete functions the converter puts
inputs and outputs in an order of its own. Even so nothing but the signature says which is which,
so a converted file is run through it.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from export.executor import StepExecutor
from export.step_graph import StepGraph
from export.witness.rebuilt import step_function
from runtime.engines.quiet import captured_stderr
from targets.errors import GateUnavailable

Array = npt.NDArray[Any]
Frames = npt.NDArray[np.float32]
SIGNATURE = "serving_default"


def load_tensorflow() -> None:
    """Import TensorFlow, silently. Raises GateUnavailable where it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with captured_stderr():
            import tensorflow  # noqa: F401
    except ImportError as error:
        raise GateUnavailable(
            "The witness needs TensorFlow, which is not installed here.",
            hint="pip install 'sordino[tensorflow]'",
        ) from error


def convert_float(graph: StepGraph) -> bytes:
    """The float32 file that TensorFlow's converter makes of the graph."""
    with _converter(graph) as converter:
        content: bytes = converter.convert()
    return content


def convert_int8(graph: StepGraph, features: Frames) -> bytes:
    """The int8 file, calibrated on ``features`` ``[streams, frames, bins, 3]``.

    Every frame is given with the states that the float graph has reached there.
    """
    import tensorflow as tf

    with _converter(graph) as converter:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        converter.representative_dataset = lambda: _representative(graph, features)
        content: bytes = converter.convert()
    return content


@contextmanager
def _converter(graph: StepGraph) -> Iterator[Any]:
    """A converter of the graph's SavedModel; what is said while it works is swallowed."""
    load_tensorflow()
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder, captured_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calibrates with an interpreter that it deprecates
        module = tf.Module()
        function = _traced(graph)
        tf.saved_model.save(module, folder, signatures={SIGNATURE: function})
        yield tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])


def _traced(graph: StepGraph) -> Any:
    """A function of keyword arguments ``input0``, … that returns ``output0``, … : names of
    tensors need not be names in Python."""
    import tensorflow as tf

    step = step_function(graph)
    specs = {
        f"input{index}": tf.TensorSpec(tensor.shape, tf.float32, f"input{index}")
        for index, tensor in enumerate(graph.inputs)
    }

    def outputs(**inputs: Any) -> dict[str, Any]:
        named = {tensor.name: inputs[f"input{k}"] for k, tensor in enumerate(graph.inputs)}
        values = step(named)
        return {f"output{k}": values[tensor.name] for k, tensor in enumerate(graph.outputs)}

    return tf.function(outputs).get_concrete_function(**specs)


def _representative(
    graph: StepGraph, features: Frames
) -> Iterator[tuple[str, dict[str, npt.NDArray[np.float32]]]]:
    executor = StepExecutor(graph)
    states = executor.initial_states(len(features))
    for frame in range(features.shape[1]):
        inputs = [features[:, frame : frame + 1], *states]
        for stream in range(len(features)):
            named = {f"input{k}": one[stream : stream + 1] for k, one in enumerate(inputs)}
            yield SIGNATURE, named
        states = executor.run(inputs)[1:]


@dataclass
class ConvertedStep:
    """Runs a converted file on LiteRT's reference kernels, in real numbers whatever it stores.

    A state goes from the output's scale to the input's, which the converter may make another.
    """

    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        with captured_stderr():
            interpreter: Any = Interpreter(
                model_content=self.content,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            )
            self._interpreter = interpreter
            self._runner: Any = interpreter.get_signature_runner(SIGNATURE)
        self._inputs: Mapping[str, Any] = self._runner.get_input_details()
        self._outputs: Mapping[str, Any] = self._runner.get_output_details()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Mask and new states, in the graph's order."""
        stored = {
            name: _stored(values, self._inputs[name])
            for name, values in zip(_numbered("input", len(inputs)), inputs, strict=True)
        }
        outputs = self._runner(**stored)
        names = _numbered("output", len(self._outputs))
        return [_real(outputs[name], self._outputs[name]) for name in names]

    def untied_states(self) -> int:
        """How many states change scale or zero point between output and input."""
        return sum(
            self._inputs[f"input{k}"]["quantization"] != self._outputs[f"output{k}"]["quantization"]
            for k in range(1, len(self._outputs))
        )


def _numbered(kind: str, number: int) -> list[str]:
    return [f"{kind}{index}" for index in range(number)]


def _stored(values: Array, details: Mapping[str, Any]) -> Array:
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return values
    limits = np.iinfo(dtype)
    steps = np.rint(values / np.float32(scale)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def _real(values: Array, details: Mapping[str, Any]) -> Array:
    scale, zero_point = details["quantization"]
    if values.dtype.kind == "f":
        return values
    return (values.astype(np.float32) - zero_point) * np.float32(scale)
