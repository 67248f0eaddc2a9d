"""ONNX Runtime, one CPU thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.engines import Array, Port, missing, unreadable

DTYPES = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(int16)": "int16"}
FATAL_ONLY = 4
PROVIDERS = ["CPUExecutionProvider"]


def session_options() -> Any:
    """How every session runs: on one thread, in silence."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    # On x86 without VNNI sums of two products would else saturate at 16 bits, unheard of.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


class OnnxEngine:
    """Runs an ONNX step model.

    Raises EngineMissing without onnxruntime, InputError for a model it cannot load.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise missing(self.name) from error
        try:
            self._session = onnxruntime.InferenceSession(
                model, session_options(), providers=PROVIDERS
            )
        except Exception as error:  # its exceptions share no narrower base
            raise unreadable(self.name, error) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.inputs = tuple(
            Port(p.name, tuple(p.shape), DTYPES.get(p.type, p.type)) for p in inputs
        )
        self.outputs = tuple(
            Port(p.name, tuple(p.shape), DTYPES.get(p.type, p.type)) for p in outputs
        )
        self._input_names = [port.name for port in inputs]
        self._output_names = [port.name for port in outputs]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        feed = dict(zip(self._input_names, inputs, strict=True))
        results: list[Array] = self._session.run(self._output_names, feed)
        return results
