"""Random cases of the operators that multiply by weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import Array, Case, Value

FUSED = schema.ActivationFunctionType
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
Shape = tuple[int, ...]


def conv_2d(drawer: Drawer, dtype: str) -> Case:
    """Any kernel, stride, dilation and padding; one in four is grouped."""
    groups = drawer.one_of(1, 1, 1, drawer.integer(2, 3))
    depth, filters = drawer.one_of(1, 2, 3, 4, 5, 8, 17), groups * drawer.integer(1, 5)
    kernel, options = _window(drawer, schema.Conv2DOptionsT(), dilated=True)
    shape, target = _shapes(drawer, kernel, options, groups * depth, filters)
    source = _source(drawer, shape, dtype)
    weight, bias = _weights(drawer, source, (filters, *kernel, depth), axis=0, narrow=True)
    result = _result(drawer, target, dtype, source, weight)
    inputs = (source, weight) if bias is None else (source, weight, bias)
    return Case("CONV_2D", options, inputs, (result,), drawer.feeds(source))


def depthwise_conv_2d(drawer: Drawer, dtype: str) -> Case:
    depth, multiplier = drawer.integer(1, 9), drawer.one_of(1, 1, 1, 2, 3)
    kernel, options = _window(drawer, schema.DepthwiseConv2DOptionsT(), dilated=True)
    options.depthMultiplier = multiplier
    shape, target = _shapes(drawer, kernel, options, depth, depth * multiplier)
    source = _source(drawer, shape, dtype)
    weight, bias = _weights(drawer, source, (1, *kernel, depth * multiplier), axis=3)
    result = _result(drawer, target, dtype, source, weight)
    inputs = (source, weight) if bias is None else (source, weight, bias)
    return Case("DEPTHWISE_CONV_2D", options, inputs, (result,), drawer.feeds(source))


def transpose_conv(drawer: Drawer, dtype: str) -> Case:
    depth, filters = drawer.integer(1, 6), drawer.integer(1, 6)
    kernel, options = _window(drawer, schema.TransposeConvOptionsT(), dilated=False)
    height, width = drawer.integer(1, 3), drawer.integer(1, 6)
    source = _source(drawer, (1, height, width, depth), dtype)
    sizes = []
    for size, taps, stride in zip(
        (height, width), kernel, (options.strideH, options.strideW), strict=True
    ):
        extra = max(taps - stride, 0) if options.padding == VALID else 0
        sizes.append(size * stride + extra)
    target = (1, *sizes, filters)
    weight, bias = _weights(drawer, source, (filters, *kernel, depth), axis=0)
    result = _result(drawer, target, dtype, source, weight)
    wanted = Value.constant(np.array(target, np.int32))
    inputs = (wanted, weight, source) if bias is None else (wanted, weight, source, bias)
    return Case("TRANSPOSE_CONV", options, inputs, (result,), drawer.feeds(source))


def fully_connected(drawer: Drawer, dtype: str) -> Case:
    depth, filters = drawer.integer(1, 40), drawer.integer(1, 9)
    shape: Shape = drawer.one_of((1, depth), (1, depth), (drawer.integer(1, 3), depth))
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = drawer.one_of(FUSED.NONE, FUSED.RELU, FUSED.RELU6)
    source = _source(drawer, shape, dtype)
    per_channel = dtype != "float32" and drawer.chance(0.5)
    weight, bias = _weights(
        drawer, source, (filters, depth), axis=0, per_channel=per_channel, narrow=True
    )
    result = _result(drawer, (shape[0], filters), dtype, source, weight)
    inputs = (source, weight) if bias is None else (source, weight, bias)
    return Case("FULLY_CONNECTED", options, inputs, (result,), drawer.feeds(source))


def _window(drawer: Drawer, options: Any, dilated: bool) -> tuple[tuple[int, int], Any]:
    """A kernel, and the options' stride, dilation, padding and activation."""
    kernel = (drawer.integer(1, 3), drawer.integer(1, 5))
    options.padding = drawer.one_of(SAME, VALID)
    options.strideH, options.strideW = drawer.integer(1, 3), drawer.integer(1, 3)
    options.fusedActivationFunction = drawer.one_of(FUSED.NONE, FUSED.RELU, FUSED.RELU6)
    if dilated and drawer.chance(0.3):
        options.strideH = options.strideW = 1
        options.dilationHFactor = drawer.integer(1, 3)
        options.dilationWFactor = drawer.integer(1, 3)
    return kernel, options


def _shapes(
    drawer: Drawer, kernel: tuple[int, int], options: Any, depth: int, filters: int
) -> tuple[Shape, Shape]:
    """An input the window fits into, and the output it leads to."""
    strides = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    sizes, results = [], []
    for taps, stride, dilation in zip(kernel, strides, dilations, strict=True):
        reach = (taps - 1) * dilation + 1
        if options.padding == VALID:
            size = reach + drawer.integer(0, 4)
            results.append((size - reach) // stride + 1)
        else:
            size = drawer.integer(1, 7)
            results.append(-(-size // stride))
        sizes.append(size)
    return (1, *sizes, depth), (1, *results, filters)


def _source(drawer: Drawer, shape: Shape, dtype: str) -> Value:
    return drawer.activation(shape, dtype, drawer.scale(1e-3, 0.2))


def _weights(
    drawer: Drawer,
    source: Value,
    shape: Shape,
    axis: int,
    per_channel: bool = True,
    narrow: bool = False,
) -> tuple[Value, Value | None]:
    """Symmetric int8 weights and their bias, or float ones; a bias may be missing. One in five
    biases beside int16 is int32 where ``narrow``."""
    with_bias = drawer.chance(0.85)
    if source.dtype == "float32":
        weight = drawer.rng.normal(size=shape).astype(np.float32)
        bias = drawer.rng.normal(size=shape[axis]).astype(np.float32)
        return Value.constant(weight), Value.constant(bias) if with_bias else None
    count = shape[axis]
    scales = tuple(drawer.scale(1e-3, 0.1) for _ in range(count if per_channel else 1))
    values = np.maximum(drawer.values(shape, "int8"), -127).astype(np.int8)
    zeros = (0,) * len(scales)
    weight_value = Value.constant(values, scales, zeros, axis)
    if not with_bias:
        return weight_value, None
    bias_scales = tuple(float(np.float32(source.scales[0]) * np.float32(s)) for s in scales)
    values = _bias(drawer, source.dtype, count, narrow and drawer.chance(0.2))
    return weight_value, Value.constant(values, bias_scales, zeros)


def _bias(drawer: Drawer, dtype: str, count: int, narrow: bool) -> Array:
    """int32 beside int8 values, int64 beside int16 ones (int32 if ``narrow``), of very different
    sizes."""
    spread = 2.0 ** drawer.integer(4, 20 if dtype == "int8" or narrow else 28)
    values = np.rint(drawer.rng.normal(0, spread, count))
    return values.astype(np.int32 if dtype == "int8" or narrow else np.int64)


def _result(drawer: Drawer, shape: Shape, dtype: str, source: Value, weight: Value) -> Value:
    """An output whose scale uses its range, or saturates now and then."""
    if dtype == "float32":
        return Value(shape, dtype)
    taps = np.prod(weight.shape) / len(weight.scales)
    products = float(np.sqrt(taps)) * 70 * (74 if dtype == "int8" else 18_000)
    unit = source.scales[0] * float(np.median(weight.scales))
    limit = 127 if dtype == "int8" else 32_767
    scale = products * unit / limit * 2.0 ** drawer.rng.uniform(-1.5, 2.5)
    return drawer.activation(shape, dtype, float(np.float32(scale)))
