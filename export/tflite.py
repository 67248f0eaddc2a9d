"""TFLite files written directly from the step graph, in float32 and in integers.

No converter runs: what is in the graph is what is in the file, in the same order. The same graph
gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export.quantization import Affine, QuantizedGraph
from export.step_graph import (
    Activation,
    Concat,
    Constant,
    Conv2d,
    Elementwise,
    Mean,
    Operand,
    Operator,
    Pad,
    Prelu,
    Requantize,
    Reshape,
    Shape,
    Slice,
    StepGraph,
    Tensor,
    Transpose,
    TransposeConv2d,
    Weighted,
)

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16  # of constants, so that a microcontroller can use them in place
DESCRIPTION = "sordino: one streaming step of a speech denoiser"
METADATA_NAME = "sordino"

_CODES = schema.BuiltinOperator
_OPTIONS = schema.BuiltinOptions
# The operator versions that first took int8 and int16 activations, by builtin code.
_VERSIONS: dict[int, tuple[int, int]] = {
    _CODES.ADD: (2, 3),
    _CODES.SUB: (2, 5),
    _CODES.MUL: (2, 4),
    _CODES.CONCATENATION: (2, 3),
    _CODES.CONV_2D: (3, 4),
    _CODES.DEPTHWISE_CONV_2D: (3, 5),
    _CODES.TRANSPOSE_CONV: (3, 4),
    _CODES.LOGISTIC: (2, 3),
    _CODES.TANH: (2, 3),
    _CODES.RELU: (2, 3),
    _CODES.LEAKY_RELU: (2, 2),
    _CODES.PRELU: (1, 1),
    _CODES.MEAN: (2, 3),
    _CODES.RESHAPE: (1, 1),
    _CODES.TRANSPOSE: (2, 4),
    _CODES.STRIDED_SLICE: (2, 4),
    _CODES.PAD: (2, 2),
    _CODES.QUANTIZE: (2, 2),
}
_FLOAT_VERSIONS: dict[int, int] = {_CODES.TRANSPOSE_CONV: 3}  # the first with a bias
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
}


def write_float(graph: StepGraph) -> bytes:
    """The float32 TFLite file of a step graph."""
    return Writer(graph).file()


def write_quantized(quantized: QuantizedGraph) -> bytes:
    """The TFLite file of a quantized graph; inputs and outputs are integers too."""
    return Writer(quantized.graph, quantized).file()


@dataclass
class Writer:
    """Collects what a file is made of; a float file where ``quantized`` is None."""

    graph: StepGraph
    quantized: QuantizedGraph | None = None
    operators: list[schema.OperatorT] = field(default_factory=list)
    buffers: list[schema.BufferT] = field(default_factory=lambda: [schema.BufferT()])
    tensors: list[schema.TensorT] = field(default_factory=list)
    codes: list[tuple[int, int]] = field(default_factory=list)  # builtin code and version
    index: dict[str, int] = field(default_factory=dict)
    contents: dict[bytes, int] = field(default_factory=dict)  # equal constants share a buffer
    indices: dict[tuple[bytes, tuple[int, ...]], int] = field(default_factory=dict)

    def file(self) -> bytes:
        """The finished file, once."""
        for tensor in self.graph.inputs:
            self._operand(tensor)
        for operator in self.graph.operators:
            self._operator(operator)
        subgraph = schema.SubGraphT()
        subgraph.name = "step"
        subgraph.operators = self.operators
        subgraph.tensors = self.tensors
        subgraph.inputs = [self.index[tensor.name] for tensor in self.graph.inputs]
        subgraph.outputs = [self.index[tensor.name] for tensor in self.graph.outputs]
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = DESCRIPTION
        model.subgraphs = [subgraph]
        model.operatorCodes = [_operator_code(*code) for code in self.codes]
        model.metadata = [self._metadata()]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _operand(self, operand: Operand) -> int:
        """The index of an operand's tensor, made when first met."""
        if operand.name not in self.index:
            if isinstance(operand, Constant):
                self.index[operand.name] = self._fixed(operand)
            else:
                self.index[operand.name] = self._activation(operand)
        return self.index[operand.name]

    def _activation(self, tensor: Tensor) -> int:
        if self.quantized is None:
            return self.append(tensor_record(tensor.name, tensor.shape, schema.TensorType.FLOAT32))
        affine = self.quantized.activations[tensor.name]
        record = tensor_record(tensor.name, tensor.shape, _TYPES[affine.precision])
        record.quantization = _quantization([affine.scale], [affine.zero_point])
        return self.append(record)

    def _fixed(self, constant: Constant) -> int:
        if self.quantized is None:
            return self.constant(constant.name, constant.values)
        stored = self.quantized.constants[constant.name]
        return self.constant(constant.name, stored.values, [stored.affine.scale])

    def append(self, record: schema.TensorT) -> int:
        self.tensors.append(record)
        return len(self.tensors) - 1

    def constant(
        self,
        name: str,
        values: npt.NDArray[np.generic],
        scales: Sequence[float] = (),
        axis: int = 0,
    ) -> int:
        record = tensor_record(name, values.shape, _TYPES[values.dtype.name])
        record.buffer = self._buffer(np.ascontiguousarray(values).tobytes())
        if scales:
            record.quantization = _quantization(list(scales), [0] * len(scales), axis)
        return self.append(record)

    def _buffer(self, content: bytes) -> int:
        if content not in self.contents:
            self.contents[content] = len(self.buffers)
            self.buffers.append(_AlignedBuffer(np.frombuffer(content, dtype=np.uint8)))
        return self.contents[content]

    def _operator(self, operator: Operator) -> None:
        code, kind, options = _translated(operator)
        inputs = self._inputs(operator)
        record = self.compute(code, self._version(code, operator), inputs)
        record.builtinOptionsType = kind
        record.builtinOptions = options
        record.outputs = [self._operand(operator.output)]

    def compute(self, code: int, version: int, inputs: list[int]) -> schema.OperatorT:
        """Append an operator; its outputs are still to be named."""
        record = schema.OperatorT()
        if (code, version) not in self.codes:
            self.codes.append((code, version))
        record.opcodeIndex = self.codes.index((code, version))
        record.inputs = inputs
        self.operators.append(record)
        return record

    def _version(self, code: int, operator: Operator) -> int:
        if self.quantized is None:
            return _FLOAT_VERSIONS.get(code, 1)
        wide = self.quantized.activations[operator.output.name].precision == "int16"
        return _VERSIONS[code][wide]

    def _inputs(self, operator: Operator) -> list[int]:
        match operator:
            case Conv2d():
                return self._weighted_inputs(operator)
            case TransposeConv2d():
                source, weight, bias = self._weighted_inputs(operator)
                shape = np.array(operator.output.shape, np.int32)
                return [
                    self._indices(f"{operator.output.name}/shape", shape),
                    weight,
                    source,
                    bias,
                ]
            case Concat():
                return [self._operand(source) for source in operator.inputs]
            case Elementwise():
                return [self._operand(operator.left), self._operand(operator.right)]
            case Prelu():
                return [self._operand(operator.input), self._slopes(operator)]
            case Transpose():
                return self._with_indices(operator, order=operator.order)
            case Slice():
                return self._with_indices(
                    operator, begin=operator.begin, end=operator.end, strides=operator.strides
                )
            case Pad():
                pairs = np.array(list(zip(operator.before, operator.after, strict=True)), np.int32)
                name = f"{operator.output.name}/paddings"
                return [self._operand(operator.input), self._indices(name, pairs)]
            case Mean():
                return self._with_indices(operator, axes=operator.axes)
            case Activation() | Reshape() | Requantize():
                return [self._operand(operator.input)]

    def _with_indices(
        self, operator: Transpose | Slice | Mean, **indices: tuple[int, ...]
    ) -> list[int]:
        """The operator's input, then constants that say which elements it takes."""
        constants = [
            self._indices(f"{operator.output.name}/{name}", np.array(values, np.int32))
            for name, values in indices.items()
        ]
        return [self._operand(operator.input), *constants]

    def _indices(self, name: str, values: npt.NDArray[np.int32]) -> int:
        """Whole numbers that may be another operator's too: named after the first."""
        known = (values.tobytes(), values.shape)
        if known not in self.indices:
            self.indices[known] = self.constant(name, values)
        return self.indices[known]

    def _slopes(self, operator: Prelu) -> int:
        """Slopes ``[1, 1, channels]``, as the kernels broadcast them."""
        name = f"{operator.output.name}/slopes"
        slopes = operator.slopes.reshape(1, 1, -1)
        if self.quantized is None:
            return self.constant(name, slopes)
        stored = self.quantized.constants[name]
        return self.constant(name, stored.values.reshape(1, 1, -1), [stored.affine.scale])

    def _weighted_inputs(self, operator: Weighted) -> list[int]:
        source, name = self._operand(operator.input), operator.output.name
        depthwise = isinstance(operator, Conv2d) and operator.depthwise
        if self.quantized is None:
            weight = _laid_out(operator.weight, depthwise)
            channels = 3 if depthwise else 0
            return [
                source,
                self.float_weight(f"{name}/weight", weight, channels),
                self.constant(f"{name}/bias", operator.bias),
            ]
        stored = self.quantized.weights[name]
        entry: Affine = self.quantized.activations[operator.input.name]
        weight = _laid_out(stored.weight, depthwise)
        bias_scales = (stored.scales * np.float32(entry.scale)).tolist()
        axis = 3 if depthwise else 0
        return [
            source,
            self.constant(f"{name}/weight", weight, stored.scales.tolist(), axis),
            self.constant(f"{name}/bias", stored.bias, bias_scales),
        ]

    def float_weight(self, name: str, weight: npt.NDArray[np.float32], axis: int) -> int:
        """The tensor a convolution reads its weight from; ``axis`` is that of its outputs."""
        return self.constant(name, weight)

    def _metadata(self) -> schema.MetadataT:
        states = {state.input.name: state.output.name for state in self.graph.states}
        text = json.dumps({"schema": "sordino-step/1", "states": states}, sort_keys=True)
        record = schema.MetadataT()
        record.name = METADATA_NAME
        record.buffer = self._buffer(text.encode())
        return record


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """The generated packer aligns data to 4 bytes only; the schema asks for 16."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # the generated name
        builder.StartVector(1, len(self.data), ALIGNMENT)
        builder.head -= len(self.data)
        builder.Bytes[builder.head : builder.head + len(self.data)] = self.data.tobytes()
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        position: int = schema.BufferEnd(builder)
        return position


def _laid_out(weight: npt.NDArray[Any], depthwise: bool) -> npt.NDArray[Any]:
    """A weight as the file has it: a depthwise one as ``[1, time, frequency, out]``."""
    return weight.transpose(3, 1, 2, 0) if depthwise else weight


def _operator_code(code: int, version: int) -> schema.OperatorCodeT:
    record = schema.OperatorCodeT()
    record.builtinCode = code
    record.deprecatedBuiltinCode = code  # equal for every operator below 127
    record.version = version
    return record


def tensor_record(name: str, shape: Shape | tuple[int, ...], kind: int) -> schema.TensorT:
    record = schema.TensorT()
    record.name, record.shape, record.type = name, list(shape), kind
    record.hasRank = True
    return record


def _quantization(
    scales: list[float], zero_points: list[int], axis: int = 0
) -> schema.QuantizationParametersT:
    record = schema.QuantizationParametersT()
    record.scale, record.zeroPoint = scales, zero_points
    record.quantizedDimension = axis
    return record


def _translated(operator: Operator) -> tuple[int, int, object]:
    """Builtin code, type of the options, and options."""
    match operator:
        case Conv2d(depthwise=True):
            return _CODES.DEPTHWISE_CONV_2D, _OPTIONS.DepthwiseConv2DOptions, _depthwise(operator)
        case Conv2d():
            return _CODES.CONV_2D, _OPTIONS.Conv2DOptions, _conv_options(operator)
        case TransposeConv2d():
            upsampling = schema.TransposeConvOptionsT()
            upsampling.padding = _padding(operator)
            upsampling.strideH, upsampling.strideW = operator.stride
            return _CODES.TRANSPOSE_CONV, _OPTIONS.TransposeConvOptions, upsampling
        case Elementwise():
            return _elementwise_options(operator)
        case Activation():
            return _activation_options(operator)
        case Prelu():
            return _CODES.PRELU, _OPTIONS.NONE, None
        case Mean():
            reducer = schema.ReducerOptionsT()
            reducer.keepDims = True
            return _CODES.MEAN, _OPTIONS.ReducerOptions, reducer
        case Requantize():
            return _CODES.QUANTIZE, _OPTIONS.QuantizeOptions, schema.QuantizeOptionsT()
        case _:
            return _moving_options(operator)


def _moving_options(
    operator: Concat | Reshape | Transpose | Slice | Pad,
) -> tuple[int, int, object]:
    match operator:
        case Concat():
            joining = schema.ConcatenationOptionsT()
            joining.axis = operator.axis
            return _CODES.CONCATENATION, _OPTIONS.ConcatenationOptions, joining
        case Reshape():
            reshape = schema.ReshapeOptionsT()
            reshape.newShape = list(operator.output.shape)
            return _CODES.RESHAPE, _OPTIONS.ReshapeOptions, reshape
        case Transpose():
            return _CODES.TRANSPOSE, _OPTIONS.TransposeOptions, schema.TransposeOptionsT()
        case Slice():
            return _CODES.STRIDED_SLICE, _OPTIONS.StridedSliceOptions, schema.StridedSliceOptionsT()
        case Pad():
            return _CODES.PAD, _OPTIONS.PadOptions, schema.PadOptionsT()


def _activation_options(operator: Activation) -> tuple[int, int, object]:
    match operator.kind:
        case "tanh":
            return _CODES.TANH, _OPTIONS.NONE, None
        case "logistic":
            return _CODES.LOGISTIC, _OPTIONS.NONE, None
        case "relu":
            return _CODES.RELU, _OPTIONS.NONE, None
        case "leaky_relu":
            leaky = schema.LeakyReluOptionsT()
            leaky.alpha = operator.slope
            return _CODES.LEAKY_RELU, _OPTIONS.LeakyReluOptions, leaky


def _padding(operator: Weighted) -> int:
    return schema.Padding.SAME if operator.padding == "same" else schema.Padding.VALID


def _fused(conv: Conv2d) -> int:
    functions = schema.ActivationFunctionType
    return functions.RELU if conv.activation == "relu" else functions.NONE


def _conv_options(conv: Conv2d) -> schema.Conv2DOptionsT:
    options = schema.Conv2DOptionsT()
    options.padding = _padding(conv)
    options.strideH, options.strideW = conv.stride
    options.dilationHFactor, options.dilationWFactor = conv.dilation
    options.fusedActivationFunction = _fused(conv)
    return options


def _depthwise(conv: Conv2d) -> schema.DepthwiseConv2DOptionsT:
    options = schema.DepthwiseConv2DOptionsT()
    options.padding = _padding(conv)
    options.strideH, options.strideW = conv.stride
    options.dilationHFactor, options.dilationWFactor = conv.dilation
    options.depthMultiplier = conv.output.shape[3] // conv.input.shape[3]
    options.fusedActivationFunction = _fused(conv)
    return options


def _elementwise_options(operator: Elementwise) -> tuple[int, int, object]:
    if operator.kind == "mul":
        return _CODES.MUL, _OPTIONS.MulOptions, schema.MulOptionsT()
    options = schema.AddOptionsT() if operator.kind == "add" else schema.SubOptionsT()
    options.potScaleInt16 = False  # the default, True, makes TFLM and LiteRT round differently
    if operator.kind == "add":
        return _CODES.ADD, _OPTIONS.AddOptions, options
    return _CODES.SUB, _OPTIONS.SubOptions, options
