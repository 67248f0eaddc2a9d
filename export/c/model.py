"""A TFLite file as the C generator sees it: typed tensors, decoded operators, named states."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export.c.call import Refused
from export.tflite import METADATA_NAME
from targets.errors import InputError

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
_ACTIVATIONS = {
    value: name for name, value in vars(schema.ActivationFunctionType).items() if name.isupper()
}
_PADDINGS = {schema.Padding.SAME: "SAME", schema.Padding.VALID: "VALID"}
_DTYPES = {  # numpy's names of the types this generator knows at all
    "FLOAT32": "float32",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
}
_PARSING_ERRORS = (
    struct.error,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
LARGEST_TENSOR = 1 << 26  # bytes; beyond it nothing fits a device this C is for

OptionValue = int | float | bool | str | bytes | tuple[int, ...] | None


@dataclass(frozen=True, eq=False)
class CTensor:
    """A tensor: real = (stored − zero_points[c]) · scales[c], c along ``axis``."""

    index: int
    name: str
    dtype: str  # numpy's name: "int8", "int16", "int32", "int64", "float32"
    shape: tuple[int, ...]
    scales: tuple[float, ...]  # float32 values; one, one per channel, or none
    zero_points: tuple[int, ...]
    axis: int  # of per-channel quantization
    data: npt.NDArray[Any] | None = field(repr=False)  # of a constant, in ``shape``

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.elements * np.dtype(self.dtype).itemsize

    @property
    def constant(self) -> bool:
        return self.data is not None


@dataclass(frozen=True, eq=False)
class COperator:
    """An operator: builtin name, tensor indices (−1: an optional input that is absent), options."""

    index: int
    name: str  # "CONV_2D", …
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, OptionValue]  # by the schema's names, in snake case: "stride_h"

    def integer(self, name: str, default: int = 0) -> int:
        """An integer option; ``default`` where the file has no options for this operator."""
        value = self.options.get(name, default)
        return value if isinstance(value, int) else default

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.options.get(name, default))

    def real(self, name: str, default: float = 0.0) -> float:
        value = self.options.get(name, default)
        return float(value) if isinstance(value, int | float) else default

    def integers(self, name: str) -> tuple[int, ...]:
        value = self.options.get(name)
        return value if isinstance(value, tuple) else ()

    @property
    def activation(self) -> str:
        """The fused activation: "NONE", "RELU", "RELU6", …"""
        return _ACTIVATIONS.get(self.integer("fused_activation_function"), "unknown")

    @property
    def padding(self) -> str:
        """ "SAME" or "VALID"."""
        return _PADDINGS.get(self.integer("padding"), "unknown")


@dataclass(frozen=True)
class CState:
    """A recurrent state: what ``output`` holds after a step is ``input`` of the next one."""

    name: str  # "gru"
    input: int
    output: int


@dataclass(frozen=True, eq=False)
class CModel:
    """The only subgraph of a file. ``inputs`` and ``outputs`` are those that are no states."""

    tensors: tuple[CTensor, ...]
    operators: tuple[COperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    states: tuple[CState, ...]

    def refusal(self, operator: COperator, reason: str, *, hint: str = "") -> Refused:
        """The error to raise for an operator that is not taken: ``raise model.refusal(op, …)``."""
        name = self.tensors[operator.outputs[0]].name if operator.outputs else "nothing"
        return Refused(
            f"{operator.name} (operator {operator.index}, writes {name!r}): {reason}.",
            hint=hint or "Export this model as TFLite and run it with an interpreter instead.",
        )

    def tensor(self, operator: COperator, position: int) -> CTensor:
        """Input ``position`` of an operator; raises Refused where it is absent."""
        if position >= len(operator.inputs) or operator.inputs[position] < 0:
            raise self.refusal(operator, f"input {position} is missing")
        return self.tensors[operator.inputs[position]]

    def optional(self, operator: COperator, position: int) -> CTensor | None:
        """Input ``position``, or None where the operator does not have it."""
        if position >= len(operator.inputs) or operator.inputs[position] < 0:
            return None
        return self.tensors[operator.inputs[position]]

    def output(self, operator: COperator) -> CTensor:
        """The only output; raises Refused where there is not exactly one."""
        if len(operator.outputs) != 1:
            raise self.refusal(operator, f"it has {len(operator.outputs)} outputs, not one")
        return self.tensors[operator.outputs[0]]

    def constant(self, operator: COperator, position: int) -> npt.NDArray[Any]:
        """The values of input ``position``; raises Refused where they are not in the file."""
        tensor = self.tensor(operator, position)
        if tensor.data is None:
            raise self.refusal(operator, f"input {tensor.name!r} is not constant")
        return tensor.data

    def affine(self, operator: COperator, tensor: CTensor) -> tuple[float, int]:
        """Scale (a float32 value) and zero point of a tensor quantized as a whole.

        Raises Refused where it has none, several, or a scale that is not a positive number.
        """
        if len(tensor.scales) != 1 or len(tensor.zero_points) != 1:
            raise self.refusal(operator, f"tensor {tensor.name!r} needs exactly one scale")
        scale, zero_point = tensor.scales[0], tensor.zero_points[0]
        limits = np.iinfo(tensor.dtype) if tensor.dtype.startswith("int") else None
        if limits is None or not (math.isfinite(scale) and scale > 0):
            raise self.refusal(operator, f"tensor {tensor.name!r} has the scale {scale:g}")
        if not limits.min <= zero_point <= limits.max:
            raise self.refusal(operator, f"tensor {tensor.name!r} has the zero point {zero_point}")
        return scale, zero_point


def read(content: bytes) -> CModel:
    """Read a TFLite file.

    Raises InputError for bytes that are no such file, Refused for one that has several subgraphs,
    shapes that are not static, or types that this generator does not know.
    """
    try:
        if content[4:8] != b"TFL3":
            raise ValueError("no TFL3 at byte 4")
        record = schema.ModelT.InitFromPackedBuf(content)
        return _model(record)
    except _PARSING_ERRORS as error:
        raise InputError(
            "This is not a TFLite file that can be read.",
            hint="It is damaged or of another kind: export it again.",
        ) from error


def _model(record: Any) -> CModel:
    if len(record.subgraphs) != 1:
        raise Refused(
            f"The model has {len(record.subgraphs)} subgraphs; plain C has one.",
            hint="Export a model without control flow.",
        )
    graph = record.subgraphs[0]
    tensors = tuple(_tensor(record, index, tensor) for index, tensor in enumerate(graph.tensors))
    operators = tuple(
        _operator(record, index, operator, len(tensors))
        for index, operator in enumerate(graph.operators or [])
    )
    inputs = _indices(graph.inputs, len(tensors))
    outputs = _indices(graph.outputs, len(tensors))
    states = _states(_stated(record), tensors, inputs, outputs)
    held = {state.input for state in states}
    left = {state.output for state in states}
    model = CModel(
        tensors,
        operators,
        tuple(index for index in inputs if index not in held),
        tuple(index for index in outputs if index not in left),
        states,
    )
    _check_order(model)
    return model


def _tensor(record: Any, index: int, tensor: Any) -> CTensor:
    name = (tensor.name or b"").decode(errors="replace")
    kind = _TYPES.get(tensor.type, str(tensor.type))
    if kind not in _DTYPES:
        raise Refused(
            f"Tensor {name!r} is of type {kind}; plain C takes int8, int16 and float32.",
            hint="Export it in one of these types.",
        )
    shape = tuple(int(size) for size in _list(tensor.shape))
    if any(size <= 0 for size in (*shape, *_list(tensor.shapeSignature))):
        raise Refused(
            f"The shape of tensor {name!r} is not static: {list(shape)}.",
            hint="Export the model with fixed shapes.",
        )
    dtype = np.dtype(_DTYPES[kind])
    if math.prod(shape) * dtype.itemsize > LARGEST_TENSOR:
        raise Refused(
            f"Tensor {name!r} has the shape {list(shape)}, more than {LARGEST_TENSOR} bytes.",
            hint="Plain C is for models that fit a microcontroller.",
        )
    if tensor.isVariable or tensor.sparsity is not None:
        raise Refused(
            f"Tensor {name!r} is a variable or sparse, which plain C does not have.",
            hint="Make states explicit inputs and outputs of the model.",
        )
    quantization = tensor.quantization
    if quantization is not None and quantization.details is not None:
        raise Refused(f"Tensor {name!r} is quantized in a custom way.", hint="Use affine scales.")
    scales = tuple(float(value) for value in _list(quantization.scale if quantization else None))
    points = tuple(int(value) for value in _list(quantization.zeroPoint if quantization else None))
    if len(points) == 1 and len(scales) > 1:
        points *= len(scales)
    return CTensor(
        index=index,
        name=name,
        dtype=dtype.name,
        shape=shape,
        scales=scales,
        zero_points=points,
        axis=int(quantization.quantizedDimension) if quantization else 0,
        data=_data(record.buffers[_index(tensor.buffer, len(record.buffers))], dtype, shape, name),
    )


def _data(
    buffer: Any, dtype: np.dtype[Any], shape: tuple[int, ...], name: str
) -> npt.NDArray[Any] | None:
    if buffer.offset or buffer.size:
        raise Refused(
            f"The values of tensor {name!r} lie outside of the model.", hint="Embed them."
        )
    content = np.asarray(_list(buffer.data), np.uint8).tobytes()
    if not content:
        return None
    if len(content) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"tensor {name!r} has {len(content)} bytes")
    values = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    values.flags.writeable = False
    return values


def _operator(record: Any, index: int, operator: Any, tensors: int) -> COperator:
    code = record.operatorCodes[_index(operator.opcodeIndex, len(record.operatorCodes))]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _OPERATORS.get(number, f"operator code {number}")
    options = vars(operator.builtinOptions) if operator.builtinOptions is not None else {}
    return COperator(
        index=index,
        name=name,
        inputs=_indices(operator.inputs, tensors, absent=True),
        outputs=_indices(operator.outputs, tensors),
        options={_snake(key): _option(value) for key, value in options.items()},
    )


def _option(value: Any) -> OptionValue:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    return tuple(int(item) for item in value)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _list(values: Any) -> Any:
    return [] if values is None else values


def _index(value: int, count: int) -> int:
    if not 0 <= value < count:
        raise ValueError(f"index {value} of {count}")
    return int(value)


def _indices(values: Any, count: int, absent: bool = False) -> tuple[int, ...]:
    found = tuple(int(value) for value in _list(values))
    return tuple(value if absent and value == -1 else _index(value, count) for value in found)


def _stated(record: Any) -> Mapping[str, str]:
    """Input name → output name of the states, from the metadata of files that sordino wrote."""
    for entry in record.metadata or []:
        if entry.name == METADATA_NAME.encode():
            buffer = record.buffers[_index(entry.buffer, len(record.buffers))]
            states = json.loads(bytes(_list(buffer.data)))["states"]
            return {str(source): str(target) for source, target in states.items()}
    return {}


def _states(
    names: Mapping[str, str],
    tensors: tuple[CTensor, ...],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> tuple[CState, ...]:
    """The states in the order of the model's inputs."""
    produced = {tensors[index].name: index for index in outputs}
    found = []
    for index in inputs:
        source = tensors[index]
        if source.name in names:
            target = tensors[produced[names[source.name]]]
            if (source.shape, source.dtype) != (target.shape, target.dtype):
                raise ValueError(f"state {source.name!r} changes its shape or type")
            found.append(CState(source.name.removesuffix("_in"), index, target.index))
    if len(found) != len(names):
        raise ValueError("a state names a tensor that is no input")
    return tuple(found)


def _check_order(model: CModel) -> None:
    """Every tensor is written once, before it is read; so there are no cycles."""
    known = {tensor.index for tensor in model.tensors if tensor.constant}
    known.update(model.inputs, (state.input for state in model.states))
    for operator in model.operators:
        for index in operator.inputs:
            if index >= 0 and index not in known:
                name = model.tensors[index].name
                raise model.refusal(operator, f"it reads {name!r} before anything wrote it")
        for index in operator.outputs:
            if index in known:
                raise model.refusal(operator, "its output already has a value")
            known.add(index)
    wanted = (*model.outputs, *(state.output for state in model.states))
    for index in wanted:
        if index not in known:
            raise Refused(f"Nothing writes the output {model.tensors[index].name!r}.", hint="")
