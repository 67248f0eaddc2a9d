"""What a TFLite file says about itself, read back from its bytes for the gates to judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
_DTYPES = {
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FLOAT16": "<f2",
    "FLOAT32": "<f4",
}  # of constants that are read back


@dataclass(frozen=True)
class StoredTensor:
    name: str
    type: str  # "INT8", "INT32", "FLOAT32", …
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    constant: bool
    static: bool
    offset: int  # of a constant's data in the file, 0 for an activation
    values: npt.NDArray[Any] | None = field(default=None, repr=False)  # of a constant


@dataclass(frozen=True)
class StoredOperator:
    name: str  # "CONV_2D", …
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    power_of_two_scales: bool  # of ADD and SUB: the schema's pot_scale_int16


@dataclass(frozen=True)
class StoredModel:
    subgraphs: int
    tensors: tuple[StoredTensor, ...]  # those of the first subgraph, as everything below
    operators: tuple[StoredOperator, ...]
    inputs: tuple[StoredTensor, ...]
    outputs: tuple[StoredTensor, ...]

    def unpacked(self) -> dict[str, StoredTensor]:
        """Tensor that a DEQUANTIZE makes of a constant → that constant: a weight stored small."""
        return {
            self.tensors[operator.outputs[0]].name: self.tensors[operator.inputs[0]]
            for operator in self.operators
            if operator.name == "DEQUANTIZE" and self.tensors[operator.inputs[0]].constant
        }

    def operator_counts(self) -> dict[str, int]:
        """Operator name → how often it occurs, sorted by name."""
        names = sorted(operator.name for operator in self.operators)
        return {name: names.count(name) for name in dict.fromkeys(names)}


def read_model(content: bytes) -> StoredModel:
    """Parse a file that LiteRT has loaded (a damaged one may make the parser raise anything)."""
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    tensors = tuple(
        _tensor(model, graph.Tensors(index), content) for index in range(graph.TensorsLength())
    )
    operators = tuple(
        _operator(model, graph.Operators(index)) for index in range(graph.OperatorsLength())
    )
    return StoredModel(
        subgraphs=model.SubgraphsLength(),
        tensors=tensors,
        operators=operators,
        inputs=tuple(tensors[index] for index in graph.InputsAsNumpy()),
        outputs=tuple(tensors[index] for index in graph.OutputsAsNumpy()),
    )


def _tensor(model: schema.Model, tensor: schema.Tensor, content: bytes) -> StoredTensor:
    quantization = tensor.Quantization()
    scaled = quantization is not None and quantization.ScaleLength() > 0
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    signature = tensor.ShapeSignatureAsNumpy() if tensor.ShapeSignatureLength() else shape
    buffer = model.Buffers(tensor.Buffer())
    constant = buffer.DataLength() > 0
    start = np.frombuffer(content, np.uint8).ctypes.data
    kind = _TYPES.get(tensor.Type(), str(tensor.Type()))
    return StoredTensor(
        name=(tensor.Name() or b"").decode(errors="replace"),
        type=kind,
        shape=shape,
        scales=tuple(map(float, quantization.ScaleAsNumpy())) if scaled else (),
        zero_points=tuple(map(int, quantization.ZeroPointAsNumpy())) if scaled else (),
        constant=constant,
        static=all(size > 0 for size in (*shape, *signature)),
        offset=buffer.DataAsNumpy().ctypes.data - start if constant else 0,
        values=_values(buffer.DataAsNumpy(), kind, shape) if constant else None,
    )


def _values(
    data: npt.NDArray[np.uint8], kind: str, shape: tuple[int, ...]
) -> npt.NDArray[Any] | None:
    """A constant's elements; None where their type or number is not what the tensor says."""
    dtype = np.dtype(_DTYPES.get(kind, "V1"))
    if kind not in _DTYPES or data.size != dtype.itemsize * np.prod(shape, dtype=np.int64):
        return None
    return np.frombuffer(data.tobytes(), dtype).reshape(shape)


def _operator(model: schema.Model, operator: schema.Operator) -> StoredOperator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return StoredOperator(
        name=_OPERATORS.get(number, str(number)),
        inputs=tuple(map(int, operator.InputsAsNumpy())),
        outputs=tuple(map(int, operator.OutputsAsNumpy())),
        power_of_two_scales=_power_of_two_scales(operator),
    )


def _power_of_two_scales(operator: schema.Operator) -> bool:
    kinds = {
        schema.BuiltinOptions.AddOptions: schema.AddOptions,
        schema.BuiltinOptions.SubOptions: schema.SubOptions,
    }
    kind = kinds.get(operator.BuiltinOptionsType())
    if kind is None:
        return False
    options = kind()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return bool(options.PotScaleInt16())
