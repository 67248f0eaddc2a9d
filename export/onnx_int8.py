"""ONNX in the QDQ form, written from the quantized graph: int8 weights, integers between operators.

Around every operator stand DequantizeLinear and QuantizeLinear with the graph's scales, and ONNX
Runtime replaces each such group by an integer kernel. Inputs and outputs are float32, as users of
ONNX Runtime expect: the file takes the place of the float one. A state on its way around is
rounded to the scale that it already has, so this costs no accuracy.

Activations are uint8: the graph's int8 with 128 added to value and zero point, which changes no
real value. On x86 ONNX Runtime turns int8 into uint8 where it can and leaves a convolution in
float32 where it succeeds on one side only, as it does behind a tensor with several readers.

Convolutions of ONNX want channels first. A tensor is turned around where an operator needs it,
and so rarely more than once: elementwise operators work in the order that their inputs have.

ONNX has int16 activations from version 21 on. ONNX Runtime computes such convolutions in float32
between the roundings, and their biases, int64 in TFLite, are float32 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from export.executor import same_padding
from export.onnx import step_metadata
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
    Slice,
    StepGraph,
    Transpose,
    TransposeConv2d,
    Weighted,
    sources,
)

Layout = Literal["last", "first"]  # where the channels are
# For each layout, the graph's axes in the order of the file.
ORDERS: dict[Layout, tuple[int, ...]] = {"last": (0, 1, 2, 3), "first": (0, 3, 1, 2)}
TURNED: dict[Layout, tuple[int, ...]] = {"first": (0, 3, 1, 2), "last": (0, 2, 3, 1)}
INT8_VERSIONS = (18, 8)  # of the operator set, and of the file format that came with it
INT16_VERSIONS = (21, 10)
ELEMENTWISE = {"add": "Add", "sub": "Sub", "mul": "Mul"}
ACTIVATIONS = {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "leaky_relu": "LeakyRelu"}


def write_onnx_int8(quantized: QuantizedGraph) -> bytes:
    """The QDQ file of a quantized graph; inputs, outputs and states are named as in the graph."""
    return _Writer(quantized).file()


@dataclass
class _Writer:
    quantized: QuantizedGraph
    nodes: list[Any] = field(default_factory=list)
    initializers: dict[str, Any] = field(default_factory=dict)
    stored: dict[tuple[str, Layout], str] = field(default_factory=dict)  # integer values
    real: dict[tuple[str, Layout], str] = field(default_factory=dict)  # the same in float32
    scales: dict[Affine, tuple[str, str]] = field(default_factory=dict)

    @property
    def graph(self) -> StepGraph:
        return self.quantized.graph

    def file(self) -> bytes:
        from onnx import TensorProto, helper

        for tensor in self.graph.inputs:
            self._quantize(tensor.name, "last", tensor.name)
        for operator in self.graph.operators:
            self._operator(operator)
        for tensor in self.graph.outputs:
            self._real(tensor, "last")
        inputs, outputs = (
            [helper.make_tensor_value_info(one.name, TensorProto.FLOAT, one.shape) for one in ends]
            for ends in (self.graph.inputs, self.graph.outputs)
        )
        graph = helper.make_graph(
            self.nodes, "step", inputs, outputs, list(self.initializers.values())
        )
        version, format_version = INT16_VERSIONS if self.quantized.wide else INT8_VERSIONS
        model = helper.make_model(
            graph,
            producer_name="sordino",
            opset_imports=[helper.make_opsetid("", version)],
            ir_version=format_version,
        )
        for name, value in step_metadata(self.graph).items():
            model.metadata_props.add(key=name, value=value)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _operator(self, operator: Operator) -> None:
        match operator:
            case Conv2d():
                self._conv(operator)
            case TransposeConv2d():
                self._transpose_conv(operator)
            case Requantize():
                layout = self._layout(operator)
                self._quantize(operator.output.name, layout, self._real(operator.input, layout))
            case Prelu():
                slopes = self._slopes(operator)
                self._compute("PRelu", operator, "first", [operator.input], [slopes])
            case Reshape() | Transpose():
                self._moved(operator)
            case _:
                self._anywhere(operator)

    def _anywhere(self, operator: Concat | Elementwise | Activation | Mean | Slice | Pad) -> None:
        """Operators that take their inputs in either layout."""
        layout = self._layout(operator)
        place = ORDERS[layout].index
        match operator:
            case Concat():
                axis = place(operator.axis)
                self._compute("Concat", operator, layout, operator.inputs, axis=axis)
            case Elementwise():
                both = (operator.left, operator.right)
                self._compute(ELEMENTWISE[operator.kind], operator, layout, both)
            case Activation():
                slope: dict[str, Any] = (
                    {"alpha": operator.slope} if operator.kind == "leaky_relu" else {}
                )
                kind = ACTIVATIONS[operator.kind]
                self._compute(kind, operator, layout, [operator.input], **slope)
            case Mean():
                axes = self._integers(operator, "axes", [place(axis) for axis in operator.axes])
                self._compute("ReduceMean", operator, layout, [operator.input], [axes], keepdims=1)
            case Slice():
                bounds = [
                    self._integers(operator, "starts", _ordered(operator.begin, layout)),
                    self._integers(operator, "ends", _ordered(operator.end, layout)),
                    self._integers(operator, "axes", range(4)),
                    self._integers(operator, "steps", _ordered(operator.strides, layout)),
                ]
                self._compute("Slice", operator, layout, [operator.input], bounds)
            case Pad():
                pairs = [*_ordered(operator.before, layout), *_ordered(operator.after, layout)]
                zeros = self._integers(operator, "pads", pairs)
                self._compute("Pad", operator, layout, [operator.input], [zeros])

    def _moved(self, operator: Reshape | Transpose) -> None:
        if isinstance(operator, Transpose):
            order = operator.order
            self._compute("Transpose", operator, "last", [operator.input], perm=order)
        else:
            shape = self._integers(operator, "shape", operator.output.shape)
            self._compute("Reshape", operator, "last", [operator.input], [shape])

    def _conv(self, operator: Conv2d) -> None:
        weight = self._weight(operator, (0, 3, 1, 2))
        before, after = (0, 0), (0, 0)
        if operator.padding == "same":
            reach = (
                step * (size - 1) + 1
                for size, step in zip(operator.weight.shape[1:3], operator.dilation, strict=True)
            )
            pairs = [
                same_padding(length, size, stride)
                for length, size, stride in zip(
                    operator.input.shape[1:3], reach, operator.stride, strict=True
                )
            ]
            before, after = (pairs[0][0], pairs[1][0]), (pairs[0][1], pairs[1][1])
        self._compute(
            "Conv",
            operator,
            "first",
            [operator.input],
            [weight, self._bias(operator)],
            fused="Relu" if self._rectifies(operator) else None,
            kernel_shape=operator.weight.shape[1:3],
            strides=operator.stride,
            dilations=operator.dilation,
            pads=(*before, *after),
            group=operator.groups,
        )

    def _rectifies(self, operator: Conv2d) -> bool:
        """Whether a ReLU needs a node: with zero as the lowest step, rounding cuts below it, and
        ONNX Runtime has an integer kernel for a convolution only where nothing follows it."""
        if operator.activation == "none":
            return False
        affine = self.quantized.activations[operator.output.name]
        return affine.zero_point > np.iinfo(affine.precision).min

    def _transpose_conv(self, operator: TransposeConv2d) -> None:
        kernel, stride = operator.weight.shape[1:3], operator.stride
        sizes = list(zip(operator.input.shape[1:3], operator.output.shape[1:3], strict=True))
        first, beyond = [], []
        for (entry, result), taps, step in zip(sizes, kernel, stride, strict=True):
            cut = same_padding(result, taps, step)[0] if operator.padding == "same" else 0
            first.append(cut)
            beyond.append(result + cut - ((entry - 1) * step + taps))
        self._compute(
            "ConvTranspose",
            operator,
            "first",
            [operator.input],
            [self._weight(operator, (3, 0, 1, 2)), self._bias(operator)],
            kernel_shape=kernel,
            strides=stride,
            pads=(*first, *(max(-extra, 0) for extra in beyond)),
            output_padding=tuple(max(extra, 0) for extra in beyond),
        )

    # Colons part the names made here from those of the graph, which may hold anything else.

    def _compute(
        self,
        kind: str,
        operator: Operator,
        layout: Layout,
        inputs: Sequence[Operand],
        constants: Sequence[str] = (),
        fused: str | None = None,
        **attributes: Any,
    ) -> None:
        """A node on real values, whose result is rounded to the output's scale."""
        name = operator.output.name
        result = f"{name}:exact"
        read = [self._real(operand, layout) for operand in inputs]
        if fused is not None:
            self._node(kind, [*read, *constants], f"{name}:sum", **attributes)
            self._node(fused, [f"{name}:sum"], result)
        else:
            self._node(kind, [*read, *constants], result, **attributes)
        self._quantize(name, layout, result)

    def _layout(self, operator: Operator) -> Layout:
        """The layout in which most of the operator's inputs are at hand."""
        turned = sum((one.name, "first") in self.stored for one in sources(operator))
        return "first" if 2 * turned > len(sources(operator)) else "last"

    def _real(self, operand: Operand, layout: Layout) -> str:
        """The real values of an operand in a layout: dequantized, so already rounded."""
        name, key = operand.name, (operand.name, layout)
        if key not in self.real:
            if isinstance(operand, Constant):
                fixed = self.quantized.constants[name]
                affine, values = fixed.affine, fixed.values.transpose(ORDERS[layout])
                stored = self._constant(f"{name}:stored:{layout}", _shifted(values))
            else:
                affine, stored = self.quantized.activations[name], self._stored(operand, layout)
            given = {tensor.name for tensor in self.graph.inputs}
            self.real[key] = name if layout == "last" and name not in given else f"{name}:{layout}"
            self._node("DequantizeLinear", [stored, *self._scale(affine, name)], self.real[key])
        return self.real[key]

    def _stored(self, operand: Operand, layout: Layout) -> str:
        """The integer values of a tensor in a layout, turned around if it has only the other."""
        if (operand.name, layout) not in self.stored:
            known = self._real(operand, "first" if layout == "last" else "last")
            turned = f"{operand.name}:turned"
            self._node("Transpose", [known], turned, perm=TURNED[layout])
            self._quantize(operand.name, layout, turned)
        return self.stored[operand.name, layout]

    def _quantize(self, name: str, layout: Layout, real: str) -> None:
        affine = self.quantized.activations[name]
        self.stored[name, layout] = stored = f"{name}:stored:{layout}"
        self._node("QuantizeLinear", [real, *self._scale(affine, name)], stored)

    def _scale(self, affine: Affine, name: str) -> tuple[str, str]:
        """Scale and zero point; tensors that share them share their names, that of the first."""
        if affine not in self.scales:
            zero = _shifted(np.array(affine.zero_point, affine.precision))
            self.scales[affine] = (
                self._constant(f"{name}:scale", np.array(affine.scale, np.float32)),
                self._constant(f"{name}:zero_point", zero),
            )
        return self.scales[affine]

    def _weight(self, operator: Weighted, order: tuple[int, ...]) -> str:
        """The weight with the graph's axes in another order; its first is that of the scales."""
        name = f"{operator.output.name}:weight"
        stored = self.quantized.weights[operator.output.name]
        self._per_channel(name, stored.weight.transpose(order), stored.scales, order.index(0))
        return name

    def _bias(self, operator: Weighted) -> str:
        name = f"{operator.output.name}:bias"
        stored = self.quantized.weights[operator.output.name]
        scales = stored.scales * np.float32(self.quantized.activations[operator.input.name].scale)
        if stored.bias.dtype == np.int32:
            self._per_channel(name, stored.bias, scales, 0)
        else:
            self._constant(name, (stored.bias * scales.astype(np.float64)).astype(np.float32))
        return name

    def _slopes(self, operator: Prelu) -> str:
        """Slopes ``[channels, 1, 1]``, as channels first wants them."""
        stored = self.quantized.constants[f"{operator.output.name}/slopes"]
        name = f"{operator.output.name}:slopes"
        values = self._constant(f"{name}:stored", _shifted(stored.values.reshape(-1, 1, 1)))
        self._node("DequantizeLinear", [values, *self._scale(stored.affine, name)], name)
        return name

    def _per_channel(
        self, name: str, values: npt.NDArray[Any], scales: npt.NDArray[np.float32], axis: int
    ) -> None:
        stored = [
            self._constant(f"{name}:stored", values),
            self._constant(f"{name}:scale", scales),
            self._constant(f"{name}:zero_point", np.zeros(len(scales), values.dtype)),
        ]
        self._node("DequantizeLinear", stored, name, axis=axis)

    def _integers(self, operator: Operator, name: str, values: Sequence[int]) -> str:
        return self._constant(f"{operator.output.name}:{name}", np.array(values, np.int64))

    def _constant(self, name: str, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.initializers[name] = numpy_helper.from_array(np.array(values, order="C"), name)
        return name

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))


def _shifted(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Stored values as the file has them: uint8 for int8."""
    if values.dtype == np.int8:
        return (values.astype(np.int16) + 128).astype(np.uint8)
    return values


def _ordered(values: Sequence[int], layout: Layout) -> list[int]:
    """One value per axis of the graph, in the order of the layout."""
    return [values[axis] for axis in ORDERS[layout]]
