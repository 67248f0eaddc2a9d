"""TFLite files of many independent operators: one interpreter run checks all of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export.c.model import CModel, COperator, CTensor

Array = npt.NDArray[Any]

ALIGNMENT = 16  # of constants; TFLM reads them in place

_KINDS = {
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "float32": schema.TensorType.FLOAT32,
}


@dataclass(frozen=True)
class Value:
    """A tensor of a case: an activation, or a constant where ``data`` is given."""

    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: Array | None = field(default=None, repr=False)

    @staticmethod
    def constant(
        data: Array,
        scales: tuple[float, ...] = (),
        zero_points: tuple[int, ...] = (),
        axis: int = 0,
    ) -> Value:
        return Value(data.shape, data.dtype.name, scales, zero_points, axis, data)


@dataclass(frozen=True)
class Case:
    """One operator with its tensors; ``feeds`` are the values of its activation inputs.

    ``operator`` is the builtin's name in the schema; an absent optional input is None.
    """

    operator: str
    options: Any
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    feeds: tuple[Array, ...] = field(repr=False)

    @property
    def activations(self) -> tuple[Value, ...]:
        return tuple(value for value in self.inputs if value is not None and value.data is None)


def model_of(cases: Sequence[Case]) -> CModel:
    """What reading ``file_of(cases)`` gives, without the time that parsing takes."""
    tensors: list[CTensor] = []
    operators: list[COperator] = []
    for case in cases:
        places = []
        for value in (*case.inputs, *case.outputs):
            places.append(-1 if value is None else len(tensors))
            if value is not None:
                tensors.append(_read_tensor(value, len(tensors)))
        count = len(case.inputs)
        options = {} if case.options is None else vars(case.options)
        operators.append(
            COperator(
                index=len(operators),
                name=case.operator,
                inputs=tuple(places[:count]),
                outputs=tuple(places[count:]),
                options={_snake(key): _read_option(option) for key, option in options.items()},
            )
        )
    inputs = tuple(
        index
        for operator in operators
        for index in operator.inputs
        if index >= 0 and tensors[index].data is None
    )
    outputs = tuple(index for operator in operators for index in operator.outputs)
    return CModel(tuple(tensors), tuple(operators), inputs, outputs, ())


def _read_tensor(value: Value, index: int) -> CTensor:
    return CTensor(
        index=index,
        name=f"t{index}",
        dtype=value.dtype,
        shape=value.shape,
        scales=value.scales,
        zero_points=value.zero_points,
        axis=value.axis if value.scales else 0,
        data=value.data,
    )


@functools.cache
def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _read_option(option: Any) -> Any:
    return tuple(option) if isinstance(option, list) else option


def file_of(cases: Sequence[Case]) -> bytes:
    """A TFLite file whose only subgraph holds all cases side by side."""
    return _Writer().file(cases)


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """The generated packer aligns data to 4 bytes only."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # the generated name
        builder.StartVector(1, len(self.data), ALIGNMENT)
        builder.head -= len(self.data)
        builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        position: int = schema.BufferEnd(builder)
        return position


class _Writer:
    def __init__(self) -> None:
        self._buffers: list[Any] = [schema.BufferT()]
        self._tensors: list[Any] = []
        self._codes: list[int] = []

    def file(self, cases: Sequence[Case]) -> bytes:
        subgraph = schema.SubGraphT()
        subgraph.operators, subgraph.inputs, subgraph.outputs = [], [], []
        for case in cases:
            self._add(subgraph, case)
        subgraph.tensors = self._tensors
        model = schema.ModelT()
        model.version = 3
        model.subgraphs = [subgraph]
        model.operatorCodes = [_operator_code(code) for code in self._codes]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _add(self, subgraph: Any, case: Case) -> None:
        operator = schema.OperatorT()
        operator.inputs = []
        for value in case.inputs:
            index = -1 if value is None else self._tensor(value)
            operator.inputs.append(index)
            if value is not None and value.data is None:
                subgraph.inputs.append(index)
        operator.outputs = [self._tensor(value) for value in case.outputs]
        subgraph.outputs.extend(operator.outputs)
        code = getattr(schema.BuiltinOperator, case.operator)
        if code not in self._codes:
            self._codes.append(code)
        operator.opcodeIndex = self._codes.index(code)
        if case.options is not None:
            name = type(case.options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = case.options
        subgraph.operators.append(operator)

    def _tensor(self, value: Value) -> int:
        record = schema.TensorT()
        record.name = f"t{len(self._tensors)}"
        record.shape, record.type = list(value.shape), _KINDS[value.dtype]
        record.hasRank = True
        if value.scales:
            affine = schema.QuantizationParametersT()
            affine.scale, affine.zeroPoint = list(value.scales), list(value.zero_points)
            affine.quantizedDimension = value.axis
            record.quantization = affine
        if value.data is not None:
            buffer = _AlignedBuffer()
            buffer.data = np.ascontiguousarray(value.data).tobytes()
            self._buffers.append(buffer)
            record.buffer = len(self._buffers) - 1
        self._tensors.append(record)
        return len(self._tensors) - 1


def _operator_code(code: int) -> Any:
    record = schema.OperatorCodeT()
    record.builtinCode, record.deprecatedBuiltinCode = code, min(code, 127)
    record.version = 1
    return record
