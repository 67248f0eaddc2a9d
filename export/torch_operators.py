"""The operators of a step graph in torch, on tensors ``[n, time, frequency, channels]``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from export.executor import same_padding
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
    Transpose,
    TransposeConv2d,
    Weighted,
    Weights,
)

Weighing = tuple[Tensor, Tensor]  # weight [out, time, frequency, in / groups] and bias [out]


def compute(
    operator: Operator, values: Mapping[str, Tensor], weighing: Weighing | None = None
) -> Tensor:
    """What an operator makes of the tensors it reads; a weighted one needs its ``weighing``."""
    match operator:
        case Conv2d() | TransposeConv2d():
            if weighing is None:
                raise ValueError(f"{operator.output.name} needs a weight and a bias")
            return _weighted(operator, values[operator.input.name], *weighing)
        case Elementwise():
            left, right = _operand(operator.left, values), _operand(operator.right, values)
            match operator.kind:
                case "add":
                    return left + right
                case "sub":
                    return left - right
                case "mul":
                    return left * right
        case Activation():
            return _activation(operator, values[operator.input.name])
        case Prelu():
            source = values[operator.input.name]
            return torch.where(source >= 0, source, source * _fixed(operator.slopes))
        case Mean():
            return values[operator.input.name].mean(dim=operator.axes, keepdim=True)
        case _:
            return _moved(operator, values)


def _operand(operand: Operand, values: Mapping[str, Tensor]) -> Tensor:
    return _fixed(operand.values) if isinstance(operand, Constant) else values[operand.name]


def _fixed(array: Weights) -> Tensor:
    return torch.from_numpy(array)


def _activation(operator: Activation, source: Tensor) -> Tensor:
    match operator.kind:
        case "tanh":
            return torch.tanh(source)
        case "logistic":
            return torch.sigmoid(source)
        case "relu":
            return torch.relu(source)
        case "leaky_relu":
            return functional.leaky_relu(source, operator.slope)


def _moved(
    operator: Concat | Reshape | Transpose | Slice | Pad | Requantize, values: Mapping[str, Tensor]
) -> Tensor:
    if isinstance(operator, Concat):
        return torch.cat([values[source.name] for source in operator.inputs], dim=operator.axis)
    source = values[operator.input.name]
    match operator:
        case Reshape():
            return source.reshape(len(source), *operator.output.shape[1:])
        case Transpose():
            return source.permute(operator.order)
        case Slice():
            bounds = zip(operator.begin, operator.end, operator.strides, strict=True)
            taken = tuple(slice(*one) for one in bounds)
            return source[(slice(None), *taken[1:])]
        case Pad():
            pairs = list(zip(operator.before, operator.after, strict=True))
            return functional.pad(source, [zeros for pair in reversed(pairs) for zeros in pair])
        case Requantize():
            return source


def _weighted(operator: Weighted, source: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if isinstance(operator, TransposeConv2d):
        return _transpose_conv2d(operator, source, weight, bias)
    if weight.shape[1:3] == (1, 1) and operator.stride == (1, 1) and operator.groups == 1:
        result = functional.linear(source, weight[:, 0, 0], bias)
    else:
        result = _conv2d(operator, source, weight, bias)
    return torch.relu(result) if operator.activation == "relu" else result


def _conv2d(operator: Conv2d, source: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    padding = [0, 0, 0, 0]
    if operator.padding == "same":
        reach = (operator.dilation[axis] * (weight.shape[1 + axis] - 1) + 1 for axis in (0, 1))
        time, bins = (
            same_padding(length, size, step)
            for length, size, step in zip(source.shape[1:3], reach, operator.stride, strict=True)
        )
        padding = [*bins, *time]
    result = functional.conv2d(
        functional.pad(source.permute(0, 3, 1, 2), padding),
        weight.permute(0, 3, 1, 2),
        bias,
        stride=operator.stride,
        dilation=operator.dilation,
        groups=operator.groups,
    )
    return result.permute(0, 2, 3, 1)


def _transpose_conv2d(
    operator: TransposeConv2d, source: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """Everything that any kernel reaches, then the part that padding leaves."""
    wide = functional.conv_transpose2d(
        source.permute(0, 3, 1, 2), weight.permute(3, 0, 1, 2), stride=operator.stride
    )
    _, time, bins, _ = operator.output.shape
    first_time = first_bin = 0
    if operator.padding == "same":
        first_time = same_padding(time, weight.shape[1], operator.stride[0])[0]
        first_bin = same_padding(bins, weight.shape[2], operator.stride[1])[0]
    lacking_time = max(first_time + time - wide.shape[2], 0)
    lacking_bins = max(first_bin + bins - wide.shape[3], 0)
    wide = functional.pad(wide, (0, lacking_bins, 0, lacking_time))
    cut = wide[:, :, first_time : first_time + time, first_bin : first_bin + bins]
    return cut.permute(0, 2, 3, 1) + bias
