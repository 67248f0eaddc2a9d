"""The step graph computed in numpy: the reference that shares no code with torch or LiteRT.

It runs many independent streams at once along the leading axis, which makes calibration fast,
and it can show every tensor of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

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
)

Array = npt.NDArray[np.float32]


class StepExecutor:
    """Runs a step graph; arrays are ``[streams, time, frequency, channels]``, float32."""

    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph

    def initial_states(self, streams: int = 1) -> list[Array]:
        """Zero states, in the order of ``graph.states``."""
        shapes = (state.input.shape[1:] for state in self.graph.states)
        return [np.zeros((streams, *shape), dtype=np.float32) for shape in shapes]

    def tensors(self, inputs: Sequence[Array]) -> dict[str, Array]:
        """Every tensor of one step by name; ``inputs`` are features and states, in order."""
        named = zip(self.graph.inputs, inputs, strict=True)
        values = {tensor.name: array for tensor, array in named}
        for operator in self.graph.operators:
            values[operator.output.name] = compute(operator, values)
        return values

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Mask and new states of one step, in the order of ``graph.outputs``."""
        values = self.tensors(inputs)
        return [values[tensor.name] for tensor in self.graph.outputs]

    def sequence(
        self, features: Array, states: Sequence[Array] | None = None
    ) -> Iterator[dict[str, Array]]:
        """Every tensor of every step, states fed back.

        ``features`` is ``[streams, frames, bins, 3]``.
        """
        carried = list(states) if states is not None else self.initial_states(len(features))
        for frame in range(features.shape[1]):
            values = self.tensors([features[:, frame : frame + 1], *carried])
            carried = [values[state.output.name] for state in self.graph.states]
            yield values

    def masks(self, features: Array, states: Sequence[Array] | None = None) -> Array:
        """Masks ``[streams, frames, bins, 2 or 1]`` of features ``[streams, frames, bins, 3]``."""
        name = self.graph.mask.name
        return np.concatenate([values[name] for values in self.sequence(features, states)], axis=1)


class PreciseExecutor(StepExecutor):
    """In float64, with the weights of float32: it rounds nothing."""

    def tensors(self, inputs: Sequence[Array]) -> dict[str, Array]:
        return super().tensors([cast(Array, one.astype(np.float64)) for one in inputs])


def compute(operator: Operator, values: Mapping[str, Array]) -> Array:
    """What an operator makes of the tensors it reads, ``values`` by name."""
    match operator:
        case Conv2d():
            return _conv2d(operator, values[operator.input.name])
        case TransposeConv2d():
            return _transpose_conv2d(operator, values[operator.input.name])
        case Concat():
            parts = [values[source.name] for source in operator.inputs]
            return np.concatenate(parts, axis=operator.axis)
        case Elementwise():
            left, right = _operand(operator.left, values), _operand(operator.right, values)
            function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[operator.kind]
            result: Array = function(left, right)
            return result
        case Activation():
            return _activation(operator, values[operator.input.name])
        case Prelu():
            source = values[operator.input.name]
            return np.where(source >= 0, source, source * operator.slopes)
        case Mean():
            mean: Array = values[operator.input.name].mean(axis=operator.axes, keepdims=True)
            return mean
        case _:
            return _move(operator, values[operator.input.name])


def _operand(operand: Operand, values: Mapping[str, Array]) -> Array:
    return operand.values if isinstance(operand, Constant) else values[operand.name]


def _activation(operator: Activation, source: Array) -> Array:
    match operator.kind:
        case "tanh":
            return np.tanh(source)
        case "relu":
            return np.maximum(source, np.float32(0.0))
        case "leaky_relu":
            return np.where(source >= 0, source, source * np.float32(operator.slope))
        case "logistic":
            # σ(x) = (1 + tanh(x/2)) / 2 cannot overflow.
            half = np.float32(0.5)
            return half + half * np.tanh(half * source)


def _move(operator: Reshape | Transpose | Slice | Pad | Requantize, source: Array) -> Array:
    match operator:
        case Reshape():
            return source.reshape(len(source), *operator.output.shape[1:])
        case Transpose():
            return source.transpose(operator.order)
        case Slice():
            bounds = zip(operator.begin, operator.end, operator.strides, strict=True)
            taken = tuple(slice(*one) for one in bounds)
            return source[(slice(None), *taken[1:])]
        case Pad():
            return np.pad(source, list(zip(operator.before, operator.after, strict=True)))
        case Requantize():
            return source


def _conv2d(operator: Conv2d, source: Array) -> Array:
    weight = operator.weight
    outputs, kernel_time, kernel_bins, channels = weight.shape
    reach = (
        operator.dilation[0] * (kernel_time - 1) + 1,
        operator.dilation[1] * (kernel_bins - 1) + 1,
    )
    stride = operator.stride
    if operator.padding == "same":
        padding = [
            same_padding(length, size, step)
            for length, size, step in zip(source.shape[1:3], reach, stride, strict=True)
        ]
        if any(map(any, padding)):
            source = np.pad(source, ((0, 0), *padding, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(source, reach, axis=(1, 2))
    # [streams, time, bins, channels, *kernel]
    windows = windows[:, :: stride[0], :: stride[1]]
    windows = windows[..., :: operator.dilation[0], :: operator.dilation[1]]
    columns = windows.transpose(0, 1, 2, 4, 5, 3)
    taps, rows, groups = kernel_time * kernel_bins, windows.shape[:3], operator.groups
    if groups == 1:
        result = columns.reshape(-1, taps * channels) @ weight.reshape(outputs, -1).T
    else:
        apart = columns.reshape(-1, taps, groups, channels).transpose(2, 0, 1, 3)
        rows_of = apart.reshape(groups, -1, taps * channels)
        matrices = weight.reshape(groups, outputs // groups, -1).transpose(0, 2, 1)
        result = (rows_of @ matrices).transpose(1, 0, 2).reshape(-1, outputs)
    result = result + operator.bias
    if operator.activation == "relu":
        result = np.maximum(result, np.float32(0.0))
    shaped: Array = result.reshape(*rows, outputs)
    return shaped


def _transpose_conv2d(operator: TransposeConv2d, source: Array) -> Array:
    """Every input value adds its scaled kernel to the output, ``stride`` apart."""
    outputs, kernel_time, kernel_bins, _ = operator.weight.shape
    streams, time, bins, _ = source.shape
    step_time, step_bins = operator.stride
    wide = np.zeros(
        (
            streams,
            max((time - 1) * step_time + kernel_time, operator.output.shape[1]),
            max((bins - 1) * step_bins + kernel_bins, operator.output.shape[2]),
            outputs,
        ),
        source.dtype,
    )
    for at_time in range(kernel_time):
        for at_bin in range(kernel_bins):
            times = slice(at_time, at_time + (time - 1) * step_time + 1, step_time)
            places = slice(at_bin, at_bin + (bins - 1) * step_bins + 1, step_bins)
            wide[:, times, places] += source @ operator.weight[:, at_time, at_bin].T
    _, to_time, to_bins, _ = operator.output.shape
    first_time = first_bin = 0
    if operator.padding == "same":
        # What SAME pads in the convolution that this one undoes.
        first_time = same_padding(to_time, kernel_time, step_time)[0]
        first_bin = same_padding(to_bins, kernel_bins, step_bins)[0]
    cut = wide[:, first_time : first_time + to_time, first_bin : first_bin + to_bins]
    result: Array = cut + operator.bias
    return result


def same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis (TensorFlow's SAME rule, any length)."""
    steps = -(-length // stride)
    total = max((steps - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2
