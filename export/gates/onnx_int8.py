"""Gate ``onnx-int8-structure``: an ONNX file called int8 has int8 weights, those of the network.

ONNX Runtime's own quantizer has kept float32 weights where it lacked a rule, and said nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from export.gates.onnx_structure import FORBIDDEN, signature
from export.quantization import QuantizedGraph
from export.step_graph import Weighted
from runtime.artefact import GateResult

NAME = "onnx-int8-structure"
WEIGHTED = ("Conv", "ConvTranspose")
PRODUCTS = frozenset(("MatMul", "Gemm", "Einsum"))  # the writer makes convolutions of all
FLOAT_SOURCES = frozenset(("QuantizeLinear", "DequantizeLinear"))
# From the file's axes to the graph's [out, time, frequency, in].
TO_GRAPH = {"Conv": (0, 2, 3, 1), "ConvTranspose": (1, 2, 3, 0)}
CHANNELS = {"Conv": 0, "ConvTranspose": 1}
LIMIT = 0.501  # of a step: what rounding to the nearest allows, scales being float32


@dataclass(frozen=True)
class _File:
    """A parsed model, with its nodes by what they compute and its constants by name."""

    model: Any
    nodes: dict[str, Any] = field(repr=False)
    constants: dict[str, npt.NDArray[Any]] = field(repr=False)


def onnx_int8_structure(model: bytes, quantized: QuantizedGraph) -> GateResult:
    """Checks a QDQ file: float32 interface, int8 weights per output channel within half a step of
    the graph's, integers between any two operators, states that come back on the same scale."""
    import onnx

    parsed = onnx.load_from_string(model)
    file = _File(
        parsed,
        {output: node for node in parsed.graph.node for output in node.output},
        {one.name: onnx.numpy_helper.to_array(one) for one in parsed.graph.initializer},
    )
    findings = [*_interface(file, quantized), *_operators(file), *_states(file, quantized)]
    for operator in quantized.graph.weighted:
        findings += _weight(file, operator)
    findings += _float_constants(file, wide=bool(quantized.wide))
    weights = len(quantized.graph.weighted)
    return GateResult(
        name=NAME,
        measured=findings[0] if findings else f"{weights} weights, all int8 per channel",
        limit="integers between all operators, int8 weights, tied states",
        verdict="fail" if findings else "pass",
        detail="; ".join(findings[1:4]),
    )


def _interface(file: _File, quantized: QuantizedGraph) -> Iterator[str]:
    import onnx

    try:
        onnx.checker.check_model(file.model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        yield f"the ONNX checker objects: {str(error).splitlines()[0]}"
    graph, ends = quantized.graph, (*file.model.graph.input, *file.model.graph.output)
    wanted = [(tensor.name, tensor.shape) for tensor in (*graph.inputs, *graph.outputs)]
    if [signature(value) for value in ends] != wanted:
        yield "inputs and outputs are not those of the step"
    if any(value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT for value in ends):
        yield "an input or output is not float32"


def _operators(file: _File) -> Iterator[str]:
    """Real values may only come from integers and go into integers, but for a ReLU behind a sum."""
    for node in file.model.graph.node:
        if node.op_type in FORBIDDEN | PRODUCTS:
            yield f"operator {node.op_type}"
        if node.op_type in FLOAT_SOURCES:
            continue
        readers = {one.op_type for one in file.model.graph.node if node.output[0] in one.input}
        if readers != {"QuantizeLinear"} and not (node.op_type == "Conv" and readers == {"Relu"}):
            yield f"{node.output[0]} of {node.op_type} is not rounded to integers"
        before = file.nodes.get(node.input[0])
        source = "an input" if before is None else before.op_type
        if source != "DequantizeLinear" and not (node.op_type == "Relu" and source == "Conv"):
            yield f"{node.op_type} of {node.output[0]} reads {source}, not integers"


def _weight(file: _File, operator: Weighted) -> Iterator[str]:
    name = operator.output.name
    node = file.nodes.get(f"{name}:exact")
    if node is not None and node.op_type == "Relu":
        node = file.nodes.get(node.input[0])
    if node is None or node.op_type not in WEIGHTED:
        yield f"no convolution computes {name}"
        return
    unpacked = file.nodes.get(node.input[1])
    stored = None if unpacked is None else file.constants.get(unpacked.input[0])
    if unpacked is None or stored is None or stored.dtype != np.int8:
        kind = file.constants.get(node.input[1], stored)
        yield f"the weight of {name} is {'computed' if kind is None else kind.dtype}"
        return
    scales = file.constants[unpacked.input[1]]
    axis = next((one.i for one in unpacked.attribute if one.name == "axis"), 1)
    if scales.shape != (len(operator.weight),) or axis != CHANNELS[node.op_type]:
        yield f"the weight of {name} has {scales.size} scales along axis {axis}"
        return
    values = stored.transpose(TO_GRAPH[node.op_type])
    if values.shape != operator.weight.shape:
        yield f"the weight of {name} has another shape"
        return
    steps = operator.weight / scales.astype(np.float64).reshape(-1, 1, 1, 1)
    off = float(np.abs(values - steps).max())
    if not off <= LIMIT:
        yield f"a weight of {name} is {off:.3g} steps off"


def _float_constants(file: _File, *, wide: bool) -> Iterator[str]:
    """Scales, and beside int16 activations biases: nothing else may be float32."""
    unpacking = [node for node in file.model.graph.node if node.op_type in FLOAT_SOURCES]
    allowed = {node.input[1] for node in unpacking}
    if wide:
        allowed |= {node.input[2] for node in file.nodes.values() if node.op_type in WEIGHTED}
    for name, values in file.constants.items():
        if values.dtype.kind == "f" and name not in allowed:
            yield f"{name} is {values.dtype}"
    for one in file.model.graph.initializer:
        if one.data_location == one.EXTERNAL:
            yield f"{one.name} lies in another file"


def _states(file: _File, quantized: QuantizedGraph) -> Iterator[str]:
    """The scale a state is rounded to on entry is the one it left with."""
    entries = {
        node.input[0]: node for node in file.model.graph.node if node.op_type == "QuantizeLinear"
    }
    for state in quantized.graph.states:
        before, after = entries.get(state.input.name), file.nodes.get(state.output.name)
        if before is None or after is None or after.op_type != "DequantizeLinear":
            yield f"state {state.name} is not kept in integers"
        elif any(
            not np.array_equal(file.constants[one], file.constants[other])
            for one, other in zip(before.input[1:], after.input[1:], strict=True)
        ):
            yield f"state {state.name} changes its scale on the way round"
