"""Gate ``structure``: the file is what a microcontroller interpreter and a state loop need."""

from __future__ import annotations

from export.gates.tflite_file import StoredModel, read_model
from export.step_graph import (
    Activation,
    Concat,
    Conv2d,
    Elementwise,
    Mean,
    Operator,
    Pad,
    Prelu,
    Requantize,
    Reshape,
    Slice,
    StepGraph,
    Transpose,
    TransposeConv2d,
)
from export.tflite import ALIGNMENT
from runtime.artefact import GateResult

NAME = "structure"

# What each operator of a step graph must be in the file. TFLM has kernels for all of these, and
# they were measured to agree bit for bit with LiteRT's reference. FULLY_CONNECTED is missing on
# purpose: the two round it differently.
OPERATORS: dict[type[Operator], str] = {
    TransposeConv2d: "TRANSPOSE_CONV",
    Concat: "CONCATENATION",
    Prelu: "PRELU",
    Mean: "MEAN",
    Reshape: "RESHAPE",
    Transpose: "TRANSPOSE",
    Slice: "STRIDED_SLICE",
    Pad: "PAD",
    Requantize: "QUANTIZE",
}


def structure(model: bytes, graph: StepGraph) -> GateResult:
    """Checks one file against its step graph: interface, shapes, operators, tied states."""
    stored = read_model(model)
    findings = [*_interface(stored, graph), *_operators(stored, graph), *_states(stored, graph)]
    if stored.subgraphs != 1:
        findings.append(f"{stored.subgraphs} subgraphs")
    findings += [
        f"{tensor.name} has no static shape" for tensor in stored.tensors if not tensor.static
    ]
    findings += [
        f"{tensor.name} is not aligned to {ALIGNMENT} bytes"
        for tensor in stored.tensors
        if tensor.offset % ALIGNMENT
    ]
    return GateResult(
        name=NAME,
        measured=findings[0] if findings else f"{len(stored.operators)} operators, as required",
        limit="one static subgraph, TFLM's operators, tied states",
        verdict="fail" if findings else "pass",
        detail="; ".join(findings[1:4]),
    )


def _interface(stored: StoredModel, graph: StepGraph) -> list[str]:
    found = [(tensor.name, tensor.shape) for tensor in (*stored.inputs, *stored.outputs)]
    wanted = [(tensor.name, tensor.shape) for tensor in (*graph.inputs, *graph.outputs)]
    findings = [] if found == wanted else ["inputs and outputs are not those of the step"]
    aliased = {tensor.name for tensor in stored.inputs} & {t.name for t in stored.outputs}
    return findings + [f"{name} is an input and an output" for name in sorted(aliased)]


def _operators(stored: StoredModel, graph: StepGraph) -> list[str]:
    wanted = {operator.output.name: _kind(operator) for operator in graph.operators}
    found = {
        stored.tensors[operator.outputs[0]].name: operator.name for operator in stored.operators
    }
    findings = [
        f"{output} is computed by {found.get(output, 'nothing')} instead of {kind}"
        for output, kind in wanted.items()
        if found.get(output) != kind
    ]
    expected = wanted.keys() | stored.unpacked()  # which types weights have is for another gate
    findings += [f"{found[output]} computes {output}" for output in found if output not in expected]
    for operator in stored.operators:
        if operator.power_of_two_scales:
            output = stored.tensors[operator.outputs[0]].name
            findings.append(f"{operator.name} of {output} has pot_scale_int16 set")
    return findings


def _kind(operator: Operator) -> str:
    match operator:
        case Elementwise() | Activation():
            return operator.kind.upper()
        case Conv2d():
            return "DEPTHWISE_CONV_2D" if operator.depthwise else "CONV_2D"
        case _:
            return OPERATORS[type(operator)]


def _states(stored: StoredModel, graph: StepGraph) -> list[str]:
    by_name = {tensor.name: tensor for tensor in stored.tensors}
    findings = []
    for state in graph.states:
        before, after = by_name.get(state.input.name), by_name.get(state.output.name)
        if before is None or after is None:
            findings.append(f"state {state.name} is missing")
        elif (before.type, before.scales, before.zero_points) != (
            after.type,
            after.scales,
            after.zero_points,
        ):
            findings.append(f"state {state.name} changes its scale on the way round")
    return findings
