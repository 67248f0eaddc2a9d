"""How a network is written down as operators: a builder, and weights in the graph's order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import torch

from distill.bottlenecks import TcnBlock
from export.step_graph import (
    Activation,
    Concat,
    Conv2d,
    Elementwise,
    Operand,
    Operator,
    Reshape,
    Shape,
    Slice,
    State,
    Tensor,
    Transpose,
    Weights,
)


@dataclass
class Builder:
    """Collects operators in execution order; each method returns the tensor it computes."""

    operators: list[Operator] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    bounded: set[str] = field(default_factory=set)

    def conv(
        self,
        name: str,
        source: Tensor,
        weight: Weights,
        bias: Weights,
        stride: tuple[int, int] = (1, 1),
        activation: Literal["none", "relu"] = "none",
    ) -> Tensor:
        _, time, bins, _ = source.shape
        shape = (1, -(-time // stride[0]), -(-bins // stride[1]), len(weight))
        output = Tensor(name, shape)
        self.operators.append(Conv2d(output, source, weight, bias, stride, activation))
        return output

    def dilated(self, name: str, window: Tensor, layer: TcnBlock) -> Tensor:
        """The convolution of a block: one frame out of a window as long as its reach."""
        weight, bias = folded(layer.conv, layer.norm)
        output = Tensor(name, (1, 1, 1, len(weight)))
        self.operators.append(
            Conv2d(output, window, weight, bias, (1, 1), "relu", "valid", (layer.dilation, 1))
        )
        return output

    def concat(self, name: str, *sources: Tensor) -> Tensor:
        _, _, bins, channels = sources[0].shape
        output = Tensor(name, (1, sum(source.shape[1] for source in sources), bins, channels))
        self.operators.append(Concat(output, sources))
        return output

    def elementwise(
        self, kind: Literal["add", "sub", "mul"], name: str, left: Operand, right: Operand
    ) -> Tensor:
        batch, time, bins, channels = np.broadcast_shapes(left.shape, right.shape)
        output = Tensor(name, (batch, time, bins, channels))
        self.operators.append(Elementwise(kind, output, left, right))
        return output

    def activation(self, kind: Literal["logistic", "tanh"], name: str, source: Tensor) -> Tensor:
        output = Tensor(name, source.shape)
        self.operators.append(Activation(kind, output, source))
        return output

    def reshape(self, name: str, source: Tensor, shape: Shape) -> Tensor:
        output = Tensor(name, shape)
        self.operators.append(Reshape(output, source))
        return output

    def transpose(self, name: str, source: Tensor) -> Tensor:
        _, time, bins, channels = source.shape
        output = Tensor(name, (1, time, channels, bins))
        self.operators.append(Transpose(output, source))
        return output

    def window(self, name: str, source: Tensor, history: int) -> Tensor:
        """A state's ``history`` frames, then the new one; the state then holds the last ones."""
        _, _, bins, channels = source.shape
        past = Tensor(f"{name}_in", (1, history, bins, channels))
        joined = self.concat(f"{name}/window", past, source)
        following = source
        if history > 1:
            following = Tensor(f"{name}_out", past.shape)
            self.operators.append(Slice(following, joined, (0, 1, 0, 0)))
        self.states.append(State(name, past, following))
        return joined


def mixed(builder: Builder, name: str, source: Tensor, matrix: Weights) -> Tensor:
    """``[1, 1, in, channels]`` times ``[out, in]`` along frequency: a 1×1 convolution that takes
    frequencies for channels."""
    turned = builder.transpose(f"{name}/turned", source)
    bias = np.zeros(len(matrix), np.float32)
    summed = builder.conv(f"{name}/mixed", turned, pointwise(matrix), bias)
    return builder.transpose(name, summed)


def linear(builder: Builder, name: str, source: Tensor, layer: torch.nn.Linear) -> Tensor:
    return builder.conv(name, source, pointwise(array_of(layer.weight)), array_of(layer.bias))


def folded(conv: torch.nn.Conv2d, norm: torch.nn.Module) -> tuple[Weights, Weights]:
    """Weight ``[out, time, frequency, in]`` and bias ``[out]`` of a convolution and its norm."""
    weight = array_of(conv.weight).astype(np.float64)
    bias = np.zeros(len(weight)) if conv.bias is None else array_of(conv.bias).astype(np.float64)
    if isinstance(norm, torch.nn.BatchNorm2d):
        mean, variance = cast(torch.Tensor, norm.running_mean), cast(torch.Tensor, norm.running_var)
        gain = array_of(norm.weight) / np.sqrt(array_of(variance).astype(np.float64) + norm.eps)
        weight = weight * gain[:, None, None, None]
        bias = (bias - array_of(mean)) * gain + array_of(norm.bias)
    channels_last = np.ascontiguousarray(weight.transpose(0, 2, 3, 1), dtype=np.float32)
    return channels_last, bias.astype(np.float32)


def pointwise(matrix: Weights) -> Weights:
    """A matrix ``[out, in]`` as the weight of a 1×1 convolution."""
    return np.ascontiguousarray(matrix[:, None, None, :])


def array_of(tensor: torch.Tensor) -> Weights:
    array: Weights = tensor.detach().cpu().numpy().astype(np.float32)
    return array
