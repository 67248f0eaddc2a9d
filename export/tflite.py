"""TFLite files written directly from the step graph, in float32 and int8.

No converter runs: what is in the graph is what is in the file, in the same order. The same graph
gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export.quantization import Int8Weights, QuantizedGraph
from export.step_graph import (
    Activation,
    Concat,
    Conv2d,
    Elementwise,
    Operator,
    Reshape,
    Shape,
    StepGraph,
    Tail,
    Tensor,
    Transpose,
)

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
ALIGNMENT = 16  # of constants, so that a microcontroller can use them in place
DESCRIPTION = "sordino: one streaming step of a speech denoiser"
METADATA_NAME = "sordino"

# The operator versions that first took int8, by builtin code; 1 in float.
_INT8_VERSIONS = {
    schema.BuiltinOperator.ADD: 2,
    schema.BuiltinOperator.SUB: 2,
    schema.BuiltinOperator.MUL: 2,
    schema.BuiltinOperator.CONCATENATION: 2,
    schema.BuiltinOperator.CONV_2D: 3,
    schema.BuiltinOperator.LOGISTIC: 2,
    schema.BuiltinOperator.TANH: 2,
    schema.BuiltinOperator.RESHAPE: 1,
    schema.BuiltinOperator.TRANSPOSE: 2,
    schema.BuiltinOperator.STRIDED_SLICE: 2,
}


def write_float(graph: StepGraph) -> bytes:
    """The float32 TFLite file of a step graph."""
    return _Writer(graph, None).file()


def write_int8(quantized: QuantizedGraph) -> bytes:
    """The int8 TFLite file of a quantized graph; inputs and outputs are int8 too."""
    return _Writer(quantized.graph, quantized).file()


@dataclass
class _Writer:
    graph: StepGraph
    quantized: QuantizedGraph | None
    buffers: list[schema.BufferT] = field(default_factory=lambda: [schema.BufferT()])
    tensors: list[schema.TensorT] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)

    def file(self) -> bytes:
        for tensor in self.graph.inputs:
            self._activation(tensor)
        subgraph = schema.SubGraphT()
        subgraph.name = "step"
        subgraph.operators = [self._operator(operator) for operator in self.graph.operators]
        subgraph.tensors = self.tensors
        subgraph.inputs = [self.index[tensor.name] for tensor in self.graph.inputs]
        subgraph.outputs = [self.index[tensor.name] for tensor in self.graph.outputs]
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = DESCRIPTION
        model.subgraphs = [subgraph]
        model.operatorCodes = [self._operator_code(code) for code in self.codes]
        model.metadata = [self._metadata()]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _activation(self, tensor: Tensor) -> int:
        """The index of an activation's tensor, made when first met."""
        if tensor.name not in self.index:
            record = _tensor(tensor.name, tensor.shape, schema.TensorType.FLOAT32)
            if self.quantized is not None:
                affine = self.quantized.activations[tensor.name]
                record.type = schema.TensorType.INT8
                record.quantization = _quantization([affine.scale], [affine.zero_point])
            self.index[tensor.name] = self._append(record)
        return self.index[tensor.name]

    def _append(self, record: schema.TensorT) -> int:
        self.tensors.append(record)
        return len(self.tensors) - 1

    def _constant(
        self,
        name: str,
        values: npt.NDArray[np.generic],
        scales: npt.NDArray[np.float32] | None = None,
    ) -> int:
        kinds = {
            "float32": schema.TensorType.FLOAT32,
            "int8": schema.TensorType.INT8,
            "int32": schema.TensorType.INT32,
        }
        record = _tensor(name, values.shape, kinds[values.dtype.name])
        record.buffer = self._buffer(values.tobytes())
        if scales is not None:
            record.quantization = _quantization(scales.tolist(), [0] * len(scales))
        return self._append(record)

    def _buffer(self, content: bytes) -> int:
        self.buffers.append(_AlignedBuffer(np.frombuffer(content, dtype=np.uint8)))
        return len(self.buffers) - 1

    def _operator(self, operator: Operator) -> schema.OperatorT:
        code, kind, options, sources = self._translate(operator)
        record = schema.OperatorT()
        if code not in self.codes:
            self.codes.append(code)
        record.opcodeIndex = self.codes.index(code)
        record.builtinOptionsType = kind
        record.builtinOptions = options
        record.inputs = sources
        record.outputs = [self._activation(operator.output)]
        return record

    def _translate(self, operator: Operator) -> tuple[int, int, object, list[int]]:
        """Builtin code, type of the options, options, and input tensor indices."""
        codes, kinds = schema.BuiltinOperator, schema.BuiltinOptions
        match operator:
            case Conv2d():
                return (
                    codes.CONV_2D,
                    kinds.Conv2DOptions,
                    _conv_options(operator),
                    self._conv_inputs(operator),
                )
            case Concat():
                options = schema.ConcatenationOptionsT()
                options.axis = 1
                sources = [self._activation(source) for source in operator.inputs]
                return codes.CONCATENATION, kinds.ConcatenationOptions, options, sources
            case Elementwise():
                sources = [self._activation(operator.left), self._activation(operator.right)]
                return *_elementwise_options(operator), sources
            case Activation(kind="tanh"):
                return codes.TANH, kinds.NONE, None, [self._activation(operator.input)]
            case Activation():
                return codes.LOGISTIC, kinds.NONE, None, [self._activation(operator.input)]
            case Reshape():
                reshape = schema.ReshapeOptionsT()
                reshape.newShape = list(operator.output.shape)
                return (
                    codes.RESHAPE,
                    kinds.ReshapeOptions,
                    reshape,
                    [self._activation(operator.input)],
                )
            case Transpose():
                return (
                    codes.TRANSPOSE,
                    kinds.TransposeOptions,
                    schema.TransposeOptionsT(),
                    self._with_indices(operator, order=(0, 1, 3, 2)),
                )
            case Tail():
                return (
                    codes.STRIDED_SLICE,
                    kinds.StridedSliceOptions,
                    schema.StridedSliceOptionsT(),
                    self._with_indices(
                        operator, begin=(0, 1, 0, 0), end=operator.input.shape, strides=(1, 1, 1, 1)
                    ),
                )

    def _with_indices(self, operator: Transpose | Tail, **indices: Shape) -> list[int]:
        """The operator's input, then constants that say which elements it takes."""
        constants = [
            self._constant(f"{operator.output.name}/{name}", np.array(values, np.int32))
            for name, values in indices.items()
        ]
        return [self._activation(operator.input), *constants]

    def _conv_inputs(self, conv: Conv2d) -> list[int]:
        source, name = self._activation(conv.input), conv.output.name
        if self.quantized is None:
            weight = self._constant(f"{name}/weight", conv.weight)
            return [source, weight, self._constant(f"{name}/bias", conv.bias)]
        stored: Int8Weights = self.quantized.weights[name]
        input_scale = np.float32(self.quantized.activations[conv.input.name].scale)
        weight = self._constant(f"{name}/weight", stored.weight, stored.scales)
        bias = self._constant(f"{name}/bias", stored.bias, stored.scales * input_scale)
        return [source, weight, bias]

    def _operator_code(self, code: int) -> schema.OperatorCodeT:
        record = schema.OperatorCodeT()
        record.builtinCode = code
        record.deprecatedBuiltinCode = code  # equal for every operator below 127
        record.version = _INT8_VERSIONS[code] if self.quantized is not None else 1
        return record

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


def _tensor(name: str, shape: Shape | tuple[int, ...], kind: int) -> schema.TensorT:
    record = schema.TensorT()
    record.name, record.shape, record.type = name, list(shape), kind
    record.hasRank = True
    return record


def _quantization(scales: list[float], zero_points: list[int]) -> schema.QuantizationParametersT:
    record = schema.QuantizationParametersT()
    record.scale, record.zeroPoint = scales, zero_points
    return record


def _conv_options(conv: Conv2d) -> schema.Conv2DOptionsT:
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME if conv.padding == "same" else schema.Padding.VALID
    options.strideH, options.strideW = conv.stride
    options.dilationHFactor, options.dilationWFactor = conv.dilation, 1
    relu = conv.activation == "relu"
    functions = schema.ActivationFunctionType
    options.fusedActivationFunction = functions.RELU if relu else functions.NONE
    return options


def _elementwise_options(operator: Elementwise) -> tuple[int, int, object]:
    codes, kinds = schema.BuiltinOperator, schema.BuiltinOptions
    if operator.kind == "mul":
        return codes.MUL, kinds.MulOptions, schema.MulOptionsT()
    options = schema.AddOptionsT() if operator.kind == "add" else schema.SubOptionsT()
    options.potScaleInt16 = False  # the default, True, makes TFLM and LiteRT round differently
    if operator.kind == "add":
        return codes.ADD, kinds.AddOptions, options
    return codes.SUB, kinds.SubOptions, options
