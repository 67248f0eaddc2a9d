"""The typed operator graph of one streaming step: one frame and named states in and out.

Activations are ``[1, time, frequency, channels]`` (channels last). Every format is emitted from,
or checked against, this graph. Weights are permuted instead of activations; only what truly mixes
axes, such as bands, needs a transposition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

Shape = tuple[int, int, int, int]
Weights = npt.NDArray[np.float32]
Padding = Literal["same", "valid"]


@dataclass(frozen=True)
class Tensor:
    """An activation: its name is unique in the graph."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Constant:
    """A fixed operand ``[1, time, frequency, channels]``; its name is unique among all tensors."""

    name: str
    values: Weights = field(repr=False)

    @property
    def shape(self) -> Shape:
        one, time, frequency, channels = self.values.shape
        return one, time, frequency, channels


Operand = Tensor | Constant


@dataclass(frozen=True)
class Conv2d:
    """2-D convolution, padded by TensorFlow's SAME rule or not at all.

    ``weight`` is ``[out, kernel_time, kernel_frequency, in / groups]``, ``bias`` ``[out]``;
    ``stride`` and ``dilation`` are along (time, frequency). With as many groups as input channels
    it is a depthwise convolution.
    """

    output: Tensor
    input: Tensor
    weight: Weights
    bias: Weights
    stride: tuple[int, int] = (1, 1)
    activation: Literal["none", "relu"] = "none"
    padding: Padding = "same"
    dilation: tuple[int, int] = (1, 1)

    @property
    def groups(self) -> int:
        return self.input.shape[3] // int(self.weight.shape[3])

    @property
    def depthwise(self) -> bool:
        return self.groups == self.input.shape[3] > 1

    @property
    def macs(self) -> int:
        _, time, frequency, _ = self.output.shape
        return int(self.weight.size) * time * frequency


@dataclass(frozen=True)
class TransposeConv2d:
    """2-D transposed convolution (upsampling); the output's shape is stated, as padding leaves it
    open.

    ``weight`` is ``[out, kernel_time, kernel_frequency, in]``, ``bias`` ``[out]``.
    """

    output: Tensor
    input: Tensor
    weight: Weights
    bias: Weights
    stride: tuple[int, int]
    padding: Padding = "valid"

    @property
    def macs(self) -> int:
        _, time, frequency, _ = self.input.shape
        return int(self.weight.size) * time * frequency


@dataclass(frozen=True)
class Concat:
    """Concatenation along one axis: 1 time, 2 frequency, 3 channels."""

    output: Tensor
    inputs: tuple[Tensor, ...]
    axis: int = 1


@dataclass(frozen=True)
class Elementwise:
    """Sum, difference or product of two operands, at least one of them a tensor.

    Axes of size 1 are broadcast.
    """

    kind: Literal["add", "sub", "mul"]
    output: Tensor
    left: Operand
    right: Operand


@dataclass(frozen=True)
class Activation:
    """A function of each value; ``slope`` is that of ``leaky_relu`` below zero."""

    kind: Literal["logistic", "tanh", "relu", "leaky_relu"]
    output: Tensor
    input: Tensor
    slope: float = 0.0


@dataclass(frozen=True)
class Prelu:
    """``x`` above zero, ``slopes[channel] · x`` below (He et al. 2015, eq. 1)."""

    output: Tensor
    input: Tensor
    slopes: Weights = field(repr=False)  # [channels]


@dataclass(frozen=True)
class Mean:
    """The mean over some axes, which stay with size 1."""

    output: Tensor
    input: Tensor
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Reshape:
    """The same values in the same order under another shape."""

    output: Tensor
    input: Tensor


@dataclass(frozen=True)
class Transpose:
    """Axis ``k`` of the output is axis ``order[k]`` of the input."""

    output: Tensor
    input: Tensor
    order: Shape = (0, 1, 3, 2)


@dataclass(frozen=True)
class Slice:
    """From ``begin`` on, every ``strides``-th value along each axis, as many as the output has.

    A history of several frames keeps all frames of its window but the first.
    """

    output: Tensor
    input: Tensor
    begin: Shape
    strides: Shape = (1, 1, 1, 1)

    @property
    def end(self) -> Shape:
        """One past the last value taken, along each axis."""
        ends = (
            begin + (size - 1) * stride + 1
            for begin, size, stride in zip(self.begin, self.output.shape, self.strides, strict=True)
        )
        batch, time, frequency, channels = ends
        return batch, time, frequency, channels


@dataclass(frozen=True)
class Pad:
    """Zeros before and after the values along each axis."""

    output: Tensor
    input: Tensor
    before: Shape
    after: Shape


@dataclass(frozen=True)
class Requantize:
    """The same real values in another integer format; in a float graph it does nothing."""

    output: Tensor
    input: Tensor


Operator = (
    Conv2d
    | TransposeConv2d
    | Concat
    | Elementwise
    | Activation
    | Prelu
    | Mean
    | Reshape
    | Transpose
    | Slice
    | Pad
    | Requantize
)
Weighted = Conv2d | TransposeConv2d
Moving = Concat | Reshape | Transpose | Slice | Pad  # they move values and compute none


def operands(operator: Operator) -> tuple[Operand, ...]:
    """All an operator reads but its weights, in order."""
    match operator:
        case Concat():
            return operator.inputs
        case Elementwise():
            return operator.left, operator.right
        case _:
            return (operator.input,)


def sources(operator: Operator) -> tuple[Tensor, ...]:
    """The activations an operator reads, in order."""
    return tuple(operand for operand in operands(operator) if isinstance(operand, Tensor))


@dataclass(frozen=True)
class State:
    """``output`` of this step is ``input`` of the next; both start at zero."""

    name: str
    input: Tensor
    output: Tensor


@dataclass(frozen=True)
class StepGraph:
    """Operators in execution order, with the feature input, the mask output and the states.

    ``bounded`` names tensors that stay within ±1 by construction, whatever is heard: the hidden
    states of GRUs and LSTMs.
    """

    features: Tensor
    mask: Tensor
    states: tuple[State, ...]
    operators: tuple[Operator, ...] = field(repr=False)
    bounded: frozenset[str] = frozenset()

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self.features, *(state.input for state in self.states))

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (self.mask, *(state.output for state in self.states))

    @property
    def weighted(self) -> tuple[Weighted, ...]:
        return tuple(operator for operator in self.operators if isinstance(operator, Weighted))

    @property
    def constants(self) -> tuple[Constant, ...]:
        """Every fixed operand once, in the order of first use."""
        found = (operand for operator in self.operators for operand in operands(operator))
        named = {one.name: one for one in found if isinstance(one, Constant)}
        return tuple(named.values())

    @property
    def macs(self) -> int:
        return sum(operator.macs for operator in self.weighted)

    @property
    def parameters(self) -> int:
        weights = sum(int(op.weight.size + op.bias.size) for op in self.weighted)
        slopes = sum(len(op.slopes) for op in self.operators if isinstance(op, Prelu))
        return weights + slopes + sum(prod(constant.shape) for constant in self.constants)
