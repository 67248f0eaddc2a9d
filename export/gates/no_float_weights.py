"""Gate ``no-float-weights``: a quantized file holds integers and nothing else.

A model can be called int8 and keep float weights where a converter lacked a rule.
"""

from __future__ import annotations

from export.gates.tflite_file import StoredModel, read_model
from runtime.artefact import GateResult

NAME = "no-float-weights"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


def no_float_weights(model: bytes, *, wide: bool = False) -> GateResult:
    """Activations int8 (or, where the file is ``wide``, int16 as well), weights int8 at every
    convolution, biases int32 or int64, no float tensor anywhere."""
    stored = read_model(model)
    activations = ("INT8", "INT16") if wide else ("INT8",)
    constants = (*activations, "INT32", "INT64") if wide else (*activations, "INT32")
    wrong = [
        f"{tensor.name} is {tensor.type}"
        for tensor in stored.tensors
        if tensor.type not in (constants if tensor.constant else activations)
    ]
    wrong += _wide_weights(stored)
    return GateResult(
        name=NAME,
        measured=f"{len(wrong)} of {len(stored.tensors)} tensors",
        limit=f"0 outside {', '.join(constants).lower()}; weights int8",
        verdict="fail" if wrong or not stored.tensors else "pass",
        detail="; ".join(wrong[:3]),
    )


def _wide_weights(stored: StoredModel) -> list[str]:
    """Weights of convolutions that are not int8."""
    weights = (
        stored.tensors[operator.inputs[1]]
        for operator in stored.operators
        if operator.name in WEIGHTED and len(operator.inputs) > 1
    )
    return [
        f"the weight {tensor.name} is {tensor.type}"
        for tensor in weights
        if tensor.constant and tensor.type not in ("INT8", "FLOAT32")
    ]
