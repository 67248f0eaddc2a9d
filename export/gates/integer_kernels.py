"""Gate ``integer-kernels``: ONNX Runtime computes an int8 model in integers.

It replaces operators between roundings by integer kernels where it recognises them, and computes
the others in float32 without a word; the file alone does not show which.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from runtime.artefact import GateResult

NAME = "integer-kernels"
WITHOUT = "ConvTranspose"  # has no integer kernel on CPUs
FATAL_ONLY = 4


def integer_kernels(model: bytes) -> GateResult:
    """Counts the float32 convolutions in what ONNX Runtime makes of the model as it loads it."""
    kinds = [kind for kind in _kinds(model) if "Conv" in kind and kind != WITHOUT]
    real = [kind for kind in kinds if "QLinear" not in kind]
    return GateResult(
        name=NAME,
        measured=f"{len(real)} of {len(kinds)} convolutions in float32",
        limit="0",
        verdict="fail" if real else "pass",
        detail="in the model that ONNX Runtime makes of it on this machine",
    )


def _kinds(model: bytes) -> list[str]:
    """Operators of the optimised model, which ONNX Runtime only gives away as a file."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return [node.op_type for node in onnx.load(path).graph.node]
