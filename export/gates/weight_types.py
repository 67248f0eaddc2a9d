"""Gate ``weight-types``: a file with small weights holds no large ones.

A file can be called float16 and keep float32 weights where a writer or a converter passed one over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from export.gates.tflite_file import StoredModel, read_model
from export.step_graph import Conv2d, Prelu, StepGraph, TransposeConv2d, Weighted
from runtime.artefact import GateResult

NAME = "weight-types"


def weight_types(model: bytes, graph: StepGraph, wanted: Literal["FLOAT16", "INT8"]) -> GateResult:
    """The weight of every convolution must lie in the file as ``wanted``, int8 with a scale per
    output channel, and no float32 constant may hold more than the largest bias or fixed operand.
    """
    stored = read_model(model)
    findings = [
        finding for operator in graph.weighted if (finding := _finding(stored, operator, wanted))
    ]
    float32 = [one for one in stored.tensors if one.constant and one.type == "FLOAT32"]
    allowed = max(_small_operands(graph), default=0)
    for tensor in float32:
        size = 0 if tensor.values is None else tensor.values.nbytes
        if size > allowed:
            findings.append(f"{tensor.name} holds {size} bytes of float32")
    bytes_left = sum(one.values.nbytes for one in float32 if one.values is not None)
    return GateResult(
        name=NAME,
        measured=findings[0] if findings else f"{len(graph.weighted)} weights, all {wanted}",
        limit=f"all {wanted}, float32 only for biases and fixed operands",
        verdict="fail" if findings else "pass",
        detail="; ".join(findings[1:4]) or f"{bytes_left} bytes of float32 constants",
    )


def _small_operands(graph: StepGraph) -> Iterator[int]:
    """Bytes of everything that may stay float32."""
    for operator in graph.operators:
        match operator:
            case Conv2d() | TransposeConv2d():
                yield operator.bias.nbytes
            case Prelu():
                yield operator.slopes.nbytes
    yield from (constant.values.nbytes for constant in graph.constants)


def _finding(stored: StoredModel, operator: Weighted, wanted: str) -> str:
    name = operator.output.name
    sources = {stored.tensors[one.outputs[0]].name: one.inputs for one in stored.operators}
    if len(sources.get(name, ())) < 2:
        return f"{name} is not computed by a convolution"
    weight = stored.tensors[sources[name][1]]
    weight = stored.unpacked().get(weight.name, weight)
    if weight.type != wanted:
        return f"the weight of {name} is {weight.type}"
    if wanted == "INT8" and len(weight.scales) != len(operator.weight):
        return f"the weight of {name} has {len(weight.scales)} scales"
    return ""
