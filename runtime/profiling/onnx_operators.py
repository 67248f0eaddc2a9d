"""Operators of an .onnx file as rows of a profile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from runtime.modelfile.onnx_graph import OnnxGraph, OnnxNode, read_onnx_graph
from runtime.profiling.records import OperatorRow

CONVERTERS = ("QuantizeLinear", "DequantizeLinear")
UNKNOWN = "shape not stated in the file"
GATES = {"GRU": 3, "LSTM": 4}
# Kinds whose MACs are elements of the output times the depth they sum over: place of the weight.
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_MATRICES = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "Gemm": 1}


def onnx_rows(content: bytes, name: str = "The model") -> tuple[OperatorRow, ...]:
    """A row for every node that computes or moves; constants are none.

    In a quantized file every tensor passes a pair of QuantizeLinear and DequantizeLinear, which
    say how it is stored; runtimes fuse them with the operators beside them. So an operator counts
    the bytes of what is stored beyond such a pair, and a converter is listed only where it changes
    the stored type or scale in fact: at an input or output, or from one scale to another.

    Raises ModelRefused.
    """
    return tuple(_Rows(read_onnx_graph(content, name)).rows())


class _Rows:
    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._producers = {name: node for node in graph.nodes for name in node.outputs if name}
        self._readers = Counter(name for node in graph.nodes for name in set(node.inputs) if name)
        self._stored = {  # computed value → what it is stored as
            node.inputs[0]: node.outputs[0]
            for node in graph.nodes
            if node.kind == "QuantizeLinear" and self._readers[node.inputs[0]] == 1
        }

    def rows(self) -> Iterator[OperatorRow]:
        for step, node in enumerate(self._graph.nodes):
            if node.kind != "Constant" and not (node.kind in CONVERTERS and self._fused(node)):
                yield self._row(step, node)

    def _fused(self, node: OnnxNode) -> bool:
        """Whether a converter stands beside the operator that writes or reads its real value."""
        if node.kind == "DequantizeLinear":
            return node.outputs[0] not in self._graph.outputs
        producer = self._producers.get(node.inputs[0])
        return producer is not None and producer.kind != "DequantizeLinear"

    def _row(self, step: int, node: OnnxNode) -> OperatorRow:
        result = self._graph.values[next(filter(None, node.outputs))]
        operands = dict.fromkeys(self._operand(node, name) for name in node.inputs if name)
        results = (self._result(node, name) for name in node.outputs if name)
        sizes = [self._graph.values[name].size for name in (*operands, *results)]
        known = [size for size in sizes if size is not None]
        macs = self._macs(node) if result.shape is not None else 0
        complete = len(known) == len(sizes) and macs is not None
        return OperatorRow(
            step=step,
            kind=node.kind,
            node=node.name,
            output=result.name,
            shape=result.shape or (),
            macs=macs or 0,
            bytes_moved=sum(known) if complete else None,
            note="" if complete else UNKNOWN,
        )

    def _operand(self, node: OnnxNode, name: str) -> str:
        producer = self._producers.get(name)
        if node.kind not in CONVERTERS and producer and producer.kind == "DequantizeLinear":
            return producer.inputs[0]
        return name

    def _result(self, node: OnnxNode, name: str) -> str:
        return name if node.kind in CONVERTERS else self._stored.get(name, name)

    def _macs(self, node: OnnxNode) -> int | None:
        """Multiplications of activations with weights, None where a shape is missing."""
        kind = node.kind
        if kind == "Einsum":
            return self._einsum(node)
        places = (_CONVOLUTIONS | _MATRICES | {"ConvTranspose": 1} | dict.fromkeys(GATES, 1)).get(
            kind
        )
        if places is None:
            return 0
        result = self._shape(next(filter(None, node.outputs)))
        source, weight = self._shape(node.inputs[0]), self._shape(node.inputs[places])
        if result is None or source is None or weight is None:
            return None
        if kind in _CONVOLUTIONS:
            return math.prod(result) * math.prod(weight[1:])
        if kind == "ConvTranspose":
            return math.prod(source) * math.prod(weight[1:])
        if kind in GATES:
            directions, rows, depth = weight  # [directions, gates · hidden, depth]
            hidden = rows // GATES[kind]
            return source[0] * source[1] * directions * rows * (depth + hidden)
        transposed = kind == "Gemm" and node.attributes.get("transA")
        return math.prod(result) * source[0 if transposed else -1]

    def _einsum(self, node: OnnxNode) -> int | None:
        """The product of all sides that its equation names."""
        terms = str(node.attributes.get("equation", "")).partition("->")[0].split(",")
        sides: dict[str, int] = {}
        for term, name in zip(terms, node.inputs, strict=False):
            shape, letters = self._shape(name), term.replace(" ", "")
            if shape is None or len(letters) != len(shape):
                return None
            sides.update(zip(letters, shape, strict=True))
        return math.prod(sides.values())

    def _shape(self, name: str) -> tuple[int, ...] | None:
        return self._graph.values[name].shape
