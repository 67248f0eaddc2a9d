"""Cross-layer equalisation: channels share a tensor's scale, so make them equally large.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
equations 7 to 11: for positive s, relu(s·x) = s·relu(x), so an output channel of one layer can be
divided by s and the weights that read it multiplied by s. There s equalises the ranges of two
weight tensors; ours have a scale per output channel already, so what is balanced here is the reach
of the activation's channel, measured on the calibration signals, against the weights that read it:
s = sqrt(reach / weights) (as Xiao et al., "SmoothQuant", ICML 2023, equation 4, with α = 0.5).

Channels that are added, concatenated, carried as a state or moved about must share one s. A
union-find over all channels of all tensors finds who shares with whom; whatever meets a function
that is not homogeneous keeps s = 1. So the float function is the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from export.executor import Array, StepExecutor, compute
from export.step_graph import (
    Activation,
    Constant,
    Conv2d,
    Elementwise,
    Mean,
    Operator,
    Prelu,
    Requantize,
    StepGraph,
    Tensor,
    TransposeConv2d,
    Weighted,
    sources,
)

LARGEST_FACTOR = 64.0  # of a channel against the others: more only moves the problem
SWEEPS = 3  # a factor changes the weights that the next one is balanced against


@dataclass(frozen=True)
class Equalised:
    """The graph with equalised channels, and how many channels of how many tensors moved."""

    graph: StepGraph
    channels: int
    factors: Mapping[str, Array] = field(repr=False)  # by tensor name, [channels]


def channel_reach(
    graph: StepGraph, stacked: Array, progress: Callable[[float], None] | None = None
) -> dict[str, Array]:
    """Largest absolute value ``[channels]`` of every tensor over features
    ``[streams, frames, bins, 3]``, states carried."""
    reach: dict[str, Array] = {}
    for frame, values in enumerate(StepExecutor(graph).sequence(stacked)):
        for name, array in values.items():
            now = np.abs(array).max(axis=(0, 1, 2))
            reach[name] = np.maximum(reach[name], now) if frame else now
        if progress is not None:
            progress((frame + 1) / stacked.shape[1])
    return reach


def equalise(graph: StepGraph, reach: Mapping[str, Array]) -> Equalised:
    """The same function with channels of more equal reach (see :func:`channel_reach`)."""
    classes = _Classes(graph)
    factors = np.ones(classes.count)
    movable = classes.movable
    if movable.any():
        heard = np.zeros(classes.count)
        for name, values in reach.items():
            np.maximum.at(heard, classes.of(name), values)
        for _ in range(SWEEPS):
            weights = _reading_weights(graph, classes, factors)
            known = movable & (heard > 0.0) & (weights > 0.0)
            factors[known] = np.sqrt(heard[known] / weights[known])
            factors[known] /= np.exp(np.mean(np.log(factors[known])))
            factors = np.clip(factors, 1.0 / LARGEST_FACTOR, LARGEST_FACTOR)
            factors[~known] = 1.0
    scaled = tuple(_scaled(operator, classes, factors) for operator in graph.operators)
    return Equalised(
        replace(graph, operators=scaled),
        channels=int(np.count_nonzero(factors != 1.0)),
        factors={name: factors[classes.of(name)].astype(np.float32) for name in classes.tensors},
    )


class _Classes:
    """Which channels must share a factor: ``of(name)`` numbers those of a tensor ``[channels]``."""

    def __init__(self, graph: StepGraph) -> None:
        tensors = {tensor.name: tensor for tensor in graph.inputs}
        tensors.update({op.output.name: op.output for op in graph.operators})
        self.tensors = tensors
        self._first: dict[str, int] = {}
        total = 0
        for name, tensor in tensors.items():
            self._first[name] = total
            total += tensor.shape[3]
        self._parent = np.arange(total)
        self._pinned: set[int] = set()
        written: set[int] = set()
        for operator in graph.operators:
            self._bind(operator)
        for state in graph.states:
            self._join(self._own(state.input), self._own(state.output))
        for tensor in (graph.features, graph.mask):
            self._pinned.update(self._own(tensor).tolist())
        for name in graph.bounded & set(tensors):
            self._pinned.update(self._own(tensors[name]).tolist())
        roots = np.array([self._root(index) for index in range(total)], int)
        names, self._class = np.unique(roots, return_inverse=True)
        self.count = len(names)
        pinned = np.zeros(self.count, bool)
        pinned[self._class[sorted(self._pinned)]] = True
        for operator in graph.weighted:
            written.update(self.of(operator.output.name).tolist())
        made = np.zeros(self.count, bool)
        made[sorted(written)] = True
        self.movable = made & ~pinned

    def of(self, name: str) -> npt.NDArray[np.int64]:
        first = self._first[name]
        found: npt.NDArray[np.int64] = self._class[first : first + self.tensors[name].shape[3]]
        return found

    def _own(self, tensor: Tensor) -> npt.NDArray[np.int64]:
        return self._first[tensor.name] + np.arange(tensor.shape[3])

    def _bind(self, operator: Operator) -> None:
        """Unite what one operator ties, and pin what it cannot scale."""
        output = self._own(operator.output)
        match operator:
            case Conv2d() | TransposeConv2d():
                pass  # its weights take any factor on either side
            case Activation(kind="logistic" | "tanh"):
                self._pin(operator)
            case Elementwise(kind="mul"):
                self._pin(operator)
            case Elementwise():
                for operand in (operator.left, operator.right):
                    if isinstance(operand, Constant) or operand.shape[3] != len(output):
                        self._pin(operator)
                    else:
                        self._join(self._own(operand), output)
            case Activation() | Prelu() | Requantize():
                self._join(self._own(operator.input), output)
            case Mean():
                if 3 in operator.axes:
                    self._join(
                        self._own(operator.input), np.repeat(output, operator.input.shape[3])
                    )
                else:
                    self._join(self._own(operator.input), output)
            case _:
                self._bind_moved(operator)

    def _bind_moved(self, operator: Operator) -> None:
        """Let the operator move the numbers of channels instead of values: where do they go?"""
        numbers = {
            source.name: np.broadcast_to(
                self._own(source).astype(np.float32) + np.float32(1.0), source.shape
            )
            for source in sources(operator)
        }
        moved = compute(operator, numbers)
        output = np.broadcast_to(self._own(operator.output), moved.shape)
        arrived = moved.astype(np.int64) - 1
        real = arrived >= 0  # padding is zero, which any factor leaves alone
        pairs = np.unique(np.stack([arrived[real], output[real]], axis=1), axis=0)
        self._join(pairs[:, 0], pairs[:, 1])

    def _pin(self, operator: Operator) -> None:
        for tensor in (operator.output, *sources(operator)):
            self._pinned.update(self._own(tensor).tolist())

    def _join(self, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> None:
        for one, other in zip(left.tolist(), right.tolist(), strict=True):
            self._parent[self._root(one)] = self._root(other)

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = int(self._parent[index])
        return index


def _columns(operator: Weighted) -> npt.NDArray[np.int64]:
    """Which input channel each element of the weight ``[out, in / groups]`` reads."""
    outputs, inputs = operator.weight.shape[0], operator.weight.shape[3]
    groups = operator.groups if isinstance(operator, Conv2d) else 1
    group = np.arange(outputs) // (outputs // groups)
    found: npt.NDArray[np.int64] = group[:, None] * inputs + np.arange(inputs)
    return found


def _reading_weights(
    graph: StepGraph, classes: _Classes, factors: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Largest weight that reads each class, relative to the largest of its output channel, were
    the factors applied to all other inputs."""
    found = np.zeros(classes.count)
    for operator in graph.weighted:
        column = classes.of(operator.input.name)[_columns(operator)]
        size = np.abs(operator.weight.astype(np.float64)).max(axis=(1, 2))  # [out, in / groups]
        row = (size * factors[column]).max(axis=1, keepdims=True)
        np.maximum.at(found, column, size / np.maximum(row, 1e-12))
    return found


def _scaled(operator: Operator, classes: _Classes, factors: npt.NDArray[np.float64]) -> Operator:
    if not isinstance(operator, Conv2d | TransposeConv2d):
        return operator
    out = factors[classes.of(operator.output.name)]
    entry = factors[classes.of(operator.input.name)][_columns(operator)]
    weight = operator.weight * entry[:, None, None, :] / out[:, None, None, None]
    return replace(
        operator,
        weight=weight.astype(np.float32),
        bias=(operator.bias / out).astype(np.float32),
    )
