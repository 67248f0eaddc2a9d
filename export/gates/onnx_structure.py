"""Gate ``onnx-structure``: one self-contained float32 file with static shapes."""

from __future__ import annotations

from typing import Any

from export.step_graph import StepGraph
from runtime.artefact import GateResult

NAME = "onnx-structure"
# One step has no loop. A GRU or LSTM of a foreign student may stay one node: this file is float.
FORBIDDEN = frozenset(("Loop", "Scan", "If", "BatchNormalization"))
SHAPE_TYPES = frozenset(("INT64",))  # of reshape targets and slice bounds, never of weights


def onnx_structure(model: bytes, graph: StepGraph) -> GateResult:
    """Checks the file against its step graph and ONNX's own checker."""
    import onnx

    parsed = onnx.load_from_string(model)
    findings = []
    try:
        onnx.checker.check_model(parsed, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        findings.append(f"the ONNX checker objects: {str(error).splitlines()[0]}")
    found = [signature(value) for value in (*parsed.graph.input, *parsed.graph.output)]
    wanted = [(tensor.name, tensor.shape) for tensor in (*graph.inputs, *graph.outputs)]
    if found != wanted:
        findings.append("inputs and outputs are not those of the step")
    kinds = {node.op_type for node in parsed.graph.node}
    findings += [f"operator {name}" for name in sorted(kinds & FORBIDDEN)]
    for weight in parsed.graph.initializer:
        kind = onnx.TensorProto.DataType.Name(weight.data_type)
        if kind != "FLOAT" and kind not in SHAPE_TYPES:
            findings.append(f"{weight.name} is {kind}")
        if weight.data_location == onnx.TensorProto.EXTERNAL:
            findings.append(f"{weight.name} lies in another file")
    return GateResult(
        name=NAME,
        measured=findings[0] if findings else f"{len(parsed.graph.node)} nodes, as required",
        limit="one file, static shapes, float32 weights, no loop",
        verdict="fail" if findings else "pass",
        detail="; ".join(findings[1:4]),
    )


def onnx_operator_counts(model: bytes) -> dict[str, int]:
    """Operator name → how often it occurs, sorted by name."""
    import onnx

    names = sorted(node.op_type for node in onnx.load_from_string(model).graph.node)
    return {name: names.count(name) for name in dict.fromkeys(names)}


def signature(value: Any) -> tuple[str, tuple[int, ...]]:
    """Name and shape of an ONNX value; a symbolic dimension shows as 0."""
    dimensions = value.type.tensor_type.shape.dim
    return value.name, tuple(dimension.dim_value for dimension in dimensions)
