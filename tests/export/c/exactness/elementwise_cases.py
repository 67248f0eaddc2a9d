"""Random cases of the operators that take values one by one, and of MEAN."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import Case, Value

FUSED = schema.ActivationFunctionType
Generator = Callable[[Drawer, str], Case]


def relu(drawer: Drawer, dtype: str) -> Case:
    """RELU; one in four keeps its scale."""
    shape = drawer.shape()
    source = drawer.activation(shape, dtype)
    result = source if drawer.chance(0.25) else drawer.activation(shape, dtype)
    return Case("RELU", None, (source,), (result,), drawer.feeds(source))


def relu6(drawer: Drawer, dtype: str) -> Case:
    """RELU6 within one scale: TFLM's result is wrong between two."""
    shape = drawer.shape()
    low, high = (1e-3, 0.5) if dtype == "int8" else (1e-5, 1e-2)
    source = drawer.activation(shape, dtype, drawer.scale(low, high))
    return Case("RELU6", None, (source,), (source,), drawer.feeds(source))


def curved(operator: str) -> Generator:
    """LOGISTIC or TANH: the output's scale is fixed, the input's spans the curve."""
    outputs = {
        "LOGISTIC": {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)},
        "TANH": {"int8": (1 / 128, 0), "int16": (1 / 32768, 0)},
    }[operator]

    def draw(drawer: Drawer, dtype: str) -> Case:
        shape = drawer.shape()
        if dtype == "int16":
            nearby = drawer.integer(-14, -9) + drawer.rng.uniform(-2e-3, 2e-3)
            special = float(np.float32(2.0**nearby))
            scale = special if drawer.chance(0.1) else drawer.scale(1e-5, 1e-2)
            source = drawer.activation(shape, dtype, scale)
        else:
            source = drawer.activation(shape, dtype, drawer.scale(1e-3, 0.5))
        result = drawer.activation(shape, dtype, *outputs.get(dtype, ()))
        return Case(operator, None, (source,), (result,), drawer.feeds(source))

    return draw


def leaky_relu(drawer: Drawer, dtype: str) -> Case:
    options = schema.LeakyReluOptionsT()
    options.alpha = float(np.float32(drawer.one_of(0.01, 0.1, 0.3, drawer.rng.uniform(0, 2))))
    shape = drawer.shape()
    source, result = drawer.activation(shape, dtype), drawer.activation(shape, dtype)
    return Case("LEAKY_RELU", options, (source,), (result,), drawer.feeds(source))


def prelu(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape(4)
    source, result = drawer.activation(shape, dtype), drawer.activation(shape, dtype)
    slopes = drawer.activation((1, 1, shape[3]), dtype, drawer.scale(1e-3, 2e-2))
    slopes = drawer.constant_like(slopes)
    return Case("PRELU", None, (source, slopes), (result,), drawer.feeds(source))


def binary(operator: str) -> Generator:
    """ADD, SUB or MUL: broadcast, constants on either side, fused activation."""
    options_of = {
        "ADD": schema.AddOptionsT,
        "SUB": schema.SubOptionsT,
        "MUL": schema.MulOptionsT,
    }[operator]

    def draw(drawer: Drawer, dtype: str) -> Case:
        options = options_of()
        options.fusedActivationFunction = drawer.one_of(
            FUSED.NONE, FUSED.NONE, FUSED.RELU, FUSED.RELU6
        )
        if operator != "MUL":
            options.potScaleInt16 = False
        left, right, shape = _two_shapes(drawer)
        inputs = _two_inputs(drawer, dtype, left, right)
        scale = None
        if dtype == "int16" and operator == "MUL":
            unit = inputs[0].scales[0] * inputs[1].scales[0]
            scale = float(np.float32(unit * 2.0 ** drawer.rng.uniform(0, 17)))
            if drawer.chance(0.5):
                scale = float(2.0 ** np.ceil(np.log2(scale)))
        result = drawer.activation(shape, dtype, scale)
        return Case(operator, options, inputs, (result,), drawer.feeds(*inputs))

    return draw


def extremum(operator: str) -> Generator:
    """MAXIMUM or MINIMUM: all tensors share one scale."""

    def draw(drawer: Drawer, dtype: str) -> Case:
        left, right, shape = _two_shapes(drawer)
        scale, zero_point = drawer.scale(), drawer.zero_point(dtype)
        first = drawer.activation(left, dtype, scale, zero_point)
        second = drawer.activation(right, dtype, scale, zero_point)
        if drawer.chance(0.3):
            second = drawer.constant_like(second)
        result = drawer.activation(shape, dtype, scale, zero_point)
        options = schema.MaximumMinimumOptionsT()
        return Case(operator, options, (first, second), (result,), drawer.feeds(first, second))

    return draw


def mean(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape(drawer.integer(2, 4), largest=9)
    count = drawer.integer(1, len(shape))
    axes = sorted(drawer.rng.choice(len(shape), count, replace=False).tolist())
    options = schema.ReducerOptionsT()
    options.keepDims = drawer.chance(0.5)
    if options.keepDims:
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    else:
        kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    source = drawer.activation(shape, dtype)
    result = drawer.activation(kept, dtype)
    indices = Value.constant(np.array(axes, np.int32))
    return Case("MEAN", options, (source, indices), (result,), drawer.feeds(source))


def conversion(operator: str, target: str) -> Generator:
    """QUANTIZE or DEQUANTIZE to ``target``."""

    def draw(drawer: Drawer, dtype: str) -> Case:
        shape = drawer.shape()
        source, result = drawer.activation(shape, dtype), drawer.activation(shape, target)
        kind = schema.QuantizeOptionsT if operator == "QUANTIZE" else schema.DequantizeOptionsT
        return Case(operator, kind(), (source,), (result,), drawer.feeds(source))

    return draw


def _two_shapes(drawer: Drawer) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast, and what they broadcast to."""
    shape = drawer.shape()
    kind = drawer.one_of("equal", "equal", "channel", "scalar", "any")
    if kind == "equal":
        return shape, shape, shape
    if kind == "channel":
        other: tuple[int, ...] = shape[-1:]
    elif kind == "scalar":
        other = drawer.one_of((1,), (1,) * len(shape))
    else:
        other = tuple(1 if drawer.chance(0.5) else size for size in shape)
        shape = tuple(
            1 if size == there and drawer.chance(0.3) else size
            for size, there in zip(shape, other, strict=True)
        )
    result = tuple(np.broadcast_shapes(shape, other))
    return (other, shape, result) if drawer.chance(0.3) else (shape, other, result)


def _two_inputs(
    drawer: Drawer, dtype: str, left: tuple[int, ...], right: tuple[int, ...]
) -> tuple[Value, Value]:
    first, second = drawer.activation(left, dtype), drawer.activation(right, dtype)
    if drawer.chance(0.1):  # the same scale on both sides
        second = Value(second.shape, dtype, first.scales, first.zero_points)
    match drawer.integer(0, 4):
        case 0:
            return drawer.constant_like(first), second
        case 1:
            return first, drawer.constant_like(second)
        case _:
            return first, second
