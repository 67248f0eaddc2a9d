"""Arithmetic, activation functions and means, written with what the step graph has.

Each function is named like the operator of torch that it translates and takes its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from export.importing.builder import Builder, Function
from export.importing.layout import Value, laid_out
from export.importing.operands import Entry, array_of, combined, fixed, part_of, wide_of
from export.importing.refusals import Unfit
from export.step_graph import Prelu, Tensor

_NOT_DIVIDED = "Multiply by a learned gate (Sigmoid) instead of dividing."


def add(builder: Builder, left: Entry, right: Entry, alpha: float = 1.0) -> Value:
    if _nothing(left, right):
        return _made(left)
    if _nothing(right, left):
        return _made(_scaled(builder, right, alpha))
    return combined(builder, "add", left, _scaled(builder, right, alpha))


def _nothing(entry: Entry, other: Entry) -> bool:
    """``other`` is a constant of zeros that does not widen ``entry``."""
    if isinstance(other, Value) or not isinstance(entry, Value) or np.any(array_of(other)):
        return False
    return np.broadcast_shapes(entry.wide, wide_of(other)) == entry.wide


def _made(entry: Entry) -> Value:
    assert isinstance(entry, Value)
    return entry


def sub(builder: Builder, left: Entry, right: Entry, alpha: float = 1.0) -> Value:
    return combined(builder, "sub", left, _scaled(builder, right, alpha))


def rsub(builder: Builder, left: Entry, right: Entry, alpha: float = 1.0) -> Value:
    return combined(builder, "sub", right, _scaled(builder, left, alpha))


def mul(builder: Builder, left: Entry, right: Entry) -> Value:
    return combined(builder, "mul", left, right)


def _scaled(builder: Builder, entry: Entry, factor: float) -> Entry:
    if factor == 1.0:
        return entry
    if isinstance(entry, Value):
        return combined(builder, "mul", entry, float(factor))
    return torch.as_tensor(entry) * factor


def div(builder: Builder, left: Entry, right: Entry, rounding_mode: str | None = None) -> Value:
    """By a constant: a product with its reciprocal."""
    if isinstance(right, Value):
        raise Unfit("it divides by a computed value", _NOT_DIVIDED)
    if rounding_mode is not None:
        raise Unfit("it rounds its quotient", "Leave rounding to quantization.")
    divisor = torch.as_tensor(right, dtype=torch.float64)
    return combined(builder, "mul", left, (1.0 / divisor).to(torch.float32))


def neg(builder: Builder, source: Value) -> Value:
    return combined(builder, "mul", source, -1.0)


def square(builder: Builder, source: Value) -> Value:
    return combined(builder, "mul", source, source)


def pow_(builder: Builder, source: Entry, exponent: Entry) -> Value:
    """Small whole powers, as products."""
    if not isinstance(source, Value) or exponent not in (1, 2, 3, 4):
        raise Unfit(
            "its exponent is not one of 1, 2, 3 and 4",
            "Leave compression to the contract's features; write whole powers as products.",
        )
    result = source
    for _ in range(int(exponent) - 1):
        result = combined(builder, "mul", result, source)
    return result


def lerp(builder: Builder, start: Entry, end: Entry, weight: Entry) -> Value:
    """start + weight · (end − start)"""
    if not isinstance(start, Value) and not isinstance(end, Value):
        change: Entry = torch.as_tensor(end) - torch.as_tensor(start)
    else:
        change = combined(builder, "sub", end, start)
    return combined(builder, "add", start, combined(builder, "mul", weight, change))


def addcmul(builder: Builder, base: Entry, left: Entry, right: Entry, value: float = 1.0) -> Value:
    product = combined(builder, "mul", left, right)
    return combined(builder, "add", base, _scaled(builder, product, value))


def maximum(builder: Builder, left: Entry, right: Entry) -> Value:
    """max(a, b) = b + relu(a − b)"""
    return combined(builder, "add", right, relu(builder, combined(builder, "sub", left, right)))


def minimum(builder: Builder, left: Entry, right: Entry) -> Value:
    """min(a, b) = a − relu(a − b)"""
    return combined(builder, "sub", left, relu(builder, combined(builder, "sub", left, right)))


def _function(builder: Builder, kind: Function, source: Value, slope: float = 0.0) -> Value:
    tensor = builder.activation(kind, source.tensor, slope=slope)
    return Value(tensor, source.shape, source.order, source.wide)


def relu(builder: Builder, source: Value) -> Value:
    return _function(builder, "relu", source)


def sigmoid(builder: Builder, source: Value) -> Value:
    return _function(builder, "logistic", source)


def tanh(builder: Builder, source: Value) -> Value:
    return _function(builder, "tanh", source)


def leaky_relu(builder: Builder, source: Value, negative_slope: float = 0.01) -> Value:
    """A slope that turns values round is written out: relu(x) + slope · (x − relu(x))."""
    if negative_slope >= 0.0:
        return _function(builder, "leaky_relu", source, negative_slope)
    above = relu(builder, source)
    below = combined(builder, "sub", source, above)
    if negative_slope == -1.0:
        return combined(builder, "sub", above, below)
    return combined(builder, "add", above, combined(builder, "mul", below, negative_slope))


def abs_(builder: Builder, source: Value) -> Value:
    """|x| is x above zero and −1 · x below."""
    return leaky_relu(builder, source, -1.0)


def prelu(builder: Builder, source: Value, weight: Entry) -> Value:
    """One slope for all channels is that of a leaky ReLU."""
    slopes = array_of(fixed(weight)).reshape(-1)
    if len(set(slopes.tolist())) == 1:
        return leaky_relu(builder, source, float(slopes[0]))
    value = builder.solid(source)
    filled = [*(axis for axis in value.filled if axis != 1), 1]
    held = value.axes()
    if held is None or held[3] != [1]:
        value = builder.ordered(value, filled)
        tensor = builder.packaged(value, [filled[:-1], [1]])
    else:
        tensor = value.tensor
    output = builder.add(Prelu(Tensor(builder.name(), tensor.shape), tensor, slopes))
    return Value(output, value.shape, value.order, value.wide)


def hardtanh(builder: Builder, source: Value, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    return clamp(builder, source, min_val, max_val)


def relu6(builder: Builder, source: Value) -> Value:
    return clamp(builder, source, 0.0, 6.0)


def clamp(
    builder: Builder, source: Value, min: Entry | None = None, max: Entry | None = None
) -> Value:
    """From rectified distances: a standalone RELU6 is wrong in TFLM unless scales are equal."""
    result = source
    if min is not None:
        zero = not isinstance(min, Value) and not np.any(array_of(min))
        result = relu(builder, result) if zero else maximum(builder, result, min)
    return result if max is None else minimum(builder, result, max)


def clamp_min(builder: Builder, source: Value, min: Entry) -> Value:
    return clamp(builder, source, min=min)


def clamp_max(builder: Builder, source: Value, max: Entry) -> Value:
    return clamp(builder, source, max=max)


def hardsigmoid(builder: Builder, source: Value) -> Value:
    """relu6(x + 3) / 6"""
    return div(builder, relu6(builder, combined(builder, "add", source, 3.0)), 6.0)


def hardswish(builder: Builder, source: Value) -> Value:
    return combined(builder, "mul", source, hardsigmoid(builder, source))


def silu(builder: Builder, source: Value) -> Value:
    return combined(builder, "mul", source, sigmoid(builder, source))


def gelu(builder: Builder, source: Value, approximate: str = "none") -> Value:
    """The tanh form (Hendrycks and Gimpel 2016, section 2); the exact one needs the error
    function."""
    if approximate != "tanh":
        from export.importing.refusals import reason_for

        raise Unfit(*reason_for("gelu"))
    cube = pow_(builder, source, 3)
    inner = combined(builder, "add", source, combined(builder, "mul", cube, 0.044715))
    gate = tanh(builder, combined(builder, "mul", inner, math.sqrt(2.0 / math.pi)))
    half = combined(builder, "mul", source, 0.5)
    return combined(builder, "add", half, combined(builder, "mul", half, gate))


def glu(builder: Builder, source: Value, dim: int = -1) -> Value:
    """The first half times the logistic of the second."""
    axis = dim % len(source.shape)
    half = source.wide[axis] // 2
    first, second = (part_of(builder, source, axis, begin, half) for begin in (0, half))
    return combined(builder, "mul", first, sigmoid(builder, second))


def mean(
    builder: Builder,
    source: Value,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    dtype: object = None,
) -> Value:
    """Over some axes, or over all."""
    rank = len(source.wide)
    axes = sorted({axis % rank for axis in _listed(dim, rank)})
    value = builder.solid(source)
    gone = [axis for axis in axes if value.shape[axis] > 1]
    if gone:
        value = _averaged(builder, value, gone)
    if not keepdim:
        for axis in reversed(axes):
            value = value.squeezed(axis)
    return value


def sum_(
    builder: Builder,
    source: Value,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    dtype: object = None,
) -> Value:
    """The mean times how many there are: TFLM's SUM differs from LiteRT's."""
    rank = len(source.wide)
    count = math.prod(source.wide[axis] for axis in {axis % rank for axis in _listed(dim, rank)})
    return combined(builder, "mul", mean(builder, source, dim, keepdim), float(count))


def _listed(dim: int | Sequence[int] | None, rank: int) -> list[int]:
    if dim is None:
        return list(range(rank))
    chosen = [dim] if isinstance(dim, int) else list(dim)
    return chosen or list(range(rank))


def _averaged(builder: Builder, value: Value, gone: Sequence[int]) -> Value:
    shape = tuple(1 if axis in gone else size for axis, size in enumerate(value.shape))
    held = value.axes()
    groups = held[1:] if held is not None else []
    if held is None or any(0 < len(set(group) & set(gone)) < len(group) for group in held):
        groups = []
        for axis in value.filled:
            if groups and (groups[-1][-1] in gone) == (axis in gone):
                groups[-1].append(axis)
            else:
                groups.append([axis])
    tensor = builder.packaged(value, groups)
    first = 4 - len(groups)
    axes = [first + place for place, group in enumerate(groups) if set(group) & set(gone)]
    return laid_out(builder.mean(tensor, axes), shape, value.order)


def adaptive_avg_pool(builder: Builder, source: Value, output_size: Sequence[int]) -> Value:
    """To one value along some axes, and to what there is along others."""
    first = len(source.wide) - len(output_size)
    kept = source.wide[first:]
    axes = [first + k for k, size in enumerate(output_size) if size != kept[k]]
    if any(output_size[axis - first] != 1 for axis in axes):
        raise Unfit("it averages over windows of uneven length", "Use AvgPool with a fixed window.")
    return mean(builder, source, axes, keepdim=True) if axes else source
