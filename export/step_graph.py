"""The typed operator graph of one streaming step: one frame and named states in and out.

Activations are ``[1, time, frequency, channels]`` (channels last). Every format is emitted from,
or checked against, this graph. Weights are permuted instead of activations; only bands, which mix
frequencies, need a transposition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Shape = tuple[int, int, int, int]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tensor:
    """An activation: its name is unique in the graph."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Conv2d:
    """2-D convolution, padded by TensorFlow's SAME rule or not at all.

    ``weight`` is ``[out, kernel_time, kernel_frequency, in]``, ``bias`` ``[out]``. ``dilation`` is
    the distance of two taps along time; one above 1 goes without padding.
    """

    output: Tensor
    input: Tensor
    weight: Weights
    bias: Weights
    stride: tuple[int, int]
    activation: Literal["none", "relu"] = "none"
    padding: Literal["same", "valid"] = "same"
    dilation: int = 1

    @property
    def macs(self) -> int:
        _, time, frequency, _ = self.output.shape
        return int(self.weight.size) * time * frequency


@dataclass(frozen=True)
class Concat:
    """Concatenation along time (axis 1)."""

    output: Tensor
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Elementwise:
    """Sum, difference or product of two tensors of one shape."""

    kind: Literal["add", "sub", "mul"]
    output: Tensor
    left: Tensor
    right: Tensor


@dataclass(frozen=True)
class Activation:
    kind: Literal["logistic", "tanh"]
    output: Tensor
    input: Tensor


@dataclass(frozen=True)
class Reshape:
    """The same values in the same order under another shape."""

    output: Tensor
    input: Tensor


@dataclass(frozen=True)
class Transpose:
    """Frequency and channels exchanged (axes 2 and 3)."""

    output: Tensor
    input: Tensor


@dataclass(frozen=True)
class Tail:
    """All frames but the first: what a history of several frames keeps of its window."""

    output: Tensor
    input: Tensor


Operator = Conv2d | Concat | Elementwise | Activation | Reshape | Transpose | Tail


@dataclass(frozen=True)
class State:
    """``output`` of this step is ``input`` of the next; both start at zero."""

    name: str
    input: Tensor
    output: Tensor


@dataclass(frozen=True)
class StepGraph:
    """Operators in execution order, with the feature input, the mask output and the states."""

    features: Tensor
    mask: Tensor
    states: tuple[State, ...]
    operators: tuple[Operator, ...] = field(repr=False)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (self.features, *(state.input for state in self.states))

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (self.mask, *(state.output for state in self.states))

    @property
    def macs(self) -> int:
        return sum(op.macs for op in self.operators if isinstance(op, Conv2d))

    @property
    def parameters(self) -> int:
        convs = (op for op in self.operators if isinstance(op, Conv2d))
        return sum(int(op.weight.size + op.bias.size) for op in convs)
