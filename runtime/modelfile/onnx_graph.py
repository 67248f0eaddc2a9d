"""The nodes of a checked .onnx file, with shape and type of every value as far as these follow from
the file: what it states, and what the operators of this project's exports make of it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.modelfile.onnx import check_onnx
from runtime.modelfile.onnx_schema import SCHEMA, TYPES
from runtime.modelfile.onnx_shapes import Arguments, Shape, UnknownShape, output_shapes
from runtime.modelfile.protobuf import Record, read_protobuf
from runtime.modelfile.refusal import LARGEST_SIDE

Attribute = int | tuple[int, ...] | str
_INTEGERS = {"int32": "i", "int64": "q"}
MOST_INTEGERS = 1 << 10  # of a constant that is a shape, axes or indices
CONVERTERS = {"QuantizeLinear": 2, "DequantizeLinear": 1}  # → the input whose type it gives
_INT_ATTRIBUTE, _STRING_ATTRIBUTE = 2, 3


@dataclass(frozen=True)
class OnnxValue:
    """A value: what it is made of as far as known. ``shape`` is None where it is not."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    constant: bool

    @property
    def size(self) -> int | None:
        """In bytes."""
        if self.shape is None or self.dtype not in _ITEM:
            return None
        return math.prod(self.shape) * _ITEM[self.dtype]


@dataclass(frozen=True)
class OnnxNode:
    """An operator; an absent optional input is an empty name."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(repr=False)


@dataclass(frozen=True)
class OnnxGraph:
    """All nodes in order, every value by its name, and the names of inputs and outputs."""

    nodes: tuple[OnnxNode, ...]
    values: Mapping[str, OnnxValue]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


_ITEM = {name: item for name, item, _ in TYPES.values()}


def read_onnx_graph(content: bytes, name: str = "The model") -> OnnxGraph:
    """The graph of a model. ``name`` begins the sentence when it is refused.

    Raises ModelRefused.
    """
    check_onnx(content, name)
    return _Reader(content).graph()


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._graph: Record = read_protobuf(content, SCHEMA, "Model")["graph"]
        self._values: dict[str, OnnxValue] = {}
        self._integers: dict[str, tuple[int, ...]] = {}  # of small constants
        self._stated = {
            record["name"]: _stated(record)
            for part in ("value_info", "output")
            for record in self._graph[part]
        }

    def graph(self) -> OnnxGraph:
        for record in self._graph["input"]:
            shape, dtype = _stated(record)
            self._values[record["name"]] = OnnxValue(record["name"], shape, dtype, False)
        for record in self._graph["initializer"]:
            self._add_constant(record["name"], record)
        nodes = tuple(self._node(record) for record in self._graph["node"])
        return OnnxGraph(
            nodes,
            self._values,
            tuple(record["name"] for record in self._graph["input"]),
            tuple(record["name"] for record in self._graph["output"]),
        )

    def _add_constant(self, name: str, record: Record) -> None:
        dtype = TYPES[record["data_type"]][0]
        shape = tuple(record["dims"])
        self._values[name] = OnnxValue(name, shape, dtype, True)
        if dtype in _INTEGERS and math.prod(shape) <= MOST_INTEGERS:
            self._integers[name] = self._numbers(record, dtype)

    def _numbers(self, record: Record, dtype: str) -> tuple[int, ...]:
        raw = record["raw_data"]
        if raw is None:
            return tuple(record[TYPES[record["data_type"]][2]])
        code, item = _INTEGERS[dtype], _ITEM[dtype]
        return struct.unpack_from(f"<{raw.size // item}{code}", self._content, raw.start)

    def _node(self, record: Record) -> OnnxNode:
        attributes = {part["name"]: self._attribute(part) for part in record["attribute"]}
        node = OnnxNode(
            record["name"], record["op_type"], record["input"], record["output"], attributes
        )
        value = next((part["t"] for part in record["attribute"] if part["t"] is not None), None)
        if node.kind == "Constant" and value is not None:
            self._add_constant(node.outputs[0], value)
        else:
            self._add_outputs(node)
        return node

    def _attribute(self, record: Record) -> Attribute:
        if record["type"] == _STRING_ATTRIBUTE and record["s"] is not None:
            start, size = record["s"]
            return self._content[start : start + size].decode("utf-8", "replace")
        return int(record["i"]) if record["type"] == _INT_ATTRIBUTE else tuple(record["ints"])

    def _add_outputs(self, node: OnnxNode) -> None:
        arguments = Arguments(
            node.kind,
            tuple(self._values[name].shape if name else None for name in node.inputs),
            tuple(self._integers.get(name) for name in node.inputs),
            node.attributes,
            len(node.outputs),
        )
        try:
            shapes = tuple(map(_plausible, output_shapes(arguments)))
        except (UnknownShape, ArithmeticError, LookupError, ValueError):
            shapes = (None,) * len(node.outputs)
        for name, shape in zip(node.outputs, shapes, strict=True):
            if name:
                stated, dtype = self._stated.get(name, (None, ""))
                dtype = dtype or self._dtype(node)
                self._values[name] = OnnxValue(
                    name, shape if stated is None else stated, dtype, False
                )

    def _dtype(self, node: OnnxNode) -> str:
        """Of an output, empty where that does not follow from the inputs."""
        if node.kind == "Cast":
            number = node.attributes.get("to", 0)
            return TYPES[number][0] if isinstance(number, int) and number in TYPES else ""
        place = CONVERTERS.get(node.kind, 0)
        if node.kind == "QuantizeLinear" and len(node.inputs) <= place:
            return "uint8"  # as the standard has it without a zero point
        named = node.inputs[place] if place < len(node.inputs) else ""
        return self._values[named].dtype if named else ""


def _plausible(shape: Shape | None) -> Shape | None:
    known = shape is not None and all(0 <= side <= LARGEST_SIDE for side in shape)
    return shape if known else None


def _stated(record: Record) -> tuple[tuple[int, ...] | None, str]:
    """Shape and type as the file states them, where it does so with numbers."""
    tensor: Any = (record["type"] or {}).get("tensor_type")
    if tensor is None:
        return None, ""
    dtype = TYPES[tensor["elem_type"]][0] if tensor["elem_type"] in TYPES else ""
    if tensor["shape"] is None:
        return None, dtype
    sides = tuple(side["dim_value"] for side in tensor["shape"]["dim"])
    return (sides if all(side > 0 for side in sides) else None), dtype
