"""The step graph computed in numpy: the reference that shares no code with torch or LiteRT.

It runs many independent streams at once along the leading axis, which makes calibration fast,
and it can show every tensor of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from export.step_graph import (
    Activation,
    Concat,
    Conv2d,
    Elementwise,
    Operator,
    Reshape,
    StepGraph,
    Tail,
    Transpose,
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
            values[operator.output.name] = _compute(operator, values)
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


def _compute(operator: Operator, values: dict[str, Array]) -> Array:
    match operator:
        case Conv2d():
            return _conv2d(operator, values[operator.input.name])
        case Concat():
            return np.concatenate([values[source.name] for source in operator.inputs], axis=1)
        case Elementwise():
            left, right = values[operator.left.name], values[operator.right.name]
            function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[operator.kind]
            result: Array = function(left, right)
            return result
        case Activation(kind="tanh"):
            return np.tanh(values[operator.input.name])
        case Activation():
            # σ(x) = (1 + tanh(x/2)) / 2 cannot overflow.
            half = np.float32(0.5)
            return half + half * np.tanh(half * values[operator.input.name])
        case Reshape():
            source = values[operator.input.name]
            return source.reshape(len(source), *operator.output.shape[1:])
        case Transpose():
            return values[operator.input.name].swapaxes(2, 3)
        case Tail():
            return values[operator.input.name][:, 1:]


def _conv2d(operator: Conv2d, source: Array) -> Array:
    weight = operator.weight
    outputs, kernel_time, kernel_bins, channels = weight.shape
    reach = (operator.dilation * (kernel_time - 1) + 1, kernel_bins)
    stride = operator.stride
    if operator.padding == "same":
        padding = [
            _same(length, size, step)
            for length, size, step in zip(source.shape[1:3], reach, stride, strict=True)
        ]
        if any(map(any, padding)):
            source = np.pad(source, ((0, 0), *padding, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(source, reach, axis=(1, 2))
    # [streams, time, bins, channels, *kernel]
    windows = windows[:, :: stride[0], :: stride[1], :, :: operator.dilation]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel_time * kernel_bins * channels)
    result = columns @ weight.reshape(outputs, -1).T + operator.bias
    if operator.activation == "relu":
        result = np.maximum(result, np.float32(0.0))
    shaped: Array = result.reshape(*windows.shape[:3], outputs)
    return shaped


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis (TensorFlow's SAME rule, any length)."""
    steps = -(-length // stride)
    total = max((steps - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2
