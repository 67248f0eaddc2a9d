"""Gate ``no-float-weights``: an int8 file holds int8 and int32 and nothing else.

A model can be called int8 and keep float weights where a converter lacked a rule.
"""

from __future__ import annotations

from export.gates.tflite_file import StoredTensor, read_model
from runtime.artefact import GateResult

NAME = "no-float-weights"


def no_float_weights(model: bytes) -> GateResult:
    """Every activation must be int8, every constant int8 (weights) or int32 (biases)."""
    tensors = read_model(model).tensors
    wrong = [f"{tensor.name} is {tensor.type}" for tensor in tensors if not _is_integer(tensor)]
    return GateResult(
        name=NAME,
        measured=f"{len(wrong)} of {len(tensors)} tensors",
        limit="0 outside int8 and int32",
        verdict="fail" if wrong or not tensors else "pass",
        detail="; ".join(wrong[:3]),
    )


def _is_integer(tensor: StoredTensor) -> bool:
    return tensor.type == "INT8" or (tensor.constant and tensor.type == "INT32")
