"""Random cases of the operators that only move values."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import Case, Value

Shape = tuple[int, ...]


def concatenation(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape()
    axis = drawer.integer(0, len(shape) - 1)
    if len(shape) > 1 and axis == 0:
        axis = 1
    like = drawer.activation(shape, dtype)
    sizes = [drawer.integer(1, 5) for _ in range(drawer.integer(1, 4))]
    parts: list[Value] = [_reshaped(like, _with(shape, axis, size)) for size in sizes]
    if len(parts) > 1 and drawer.chance(0.2):
        parts[0] = drawer.constant_like(parts[0])
    options = schema.ConcatenationOptionsT()
    options.axis = axis - len(shape) if drawer.chance(0.3) else axis
    result = _reshaped(like, _with(shape, axis, sum(sizes)))
    return Case("CONCATENATION", options, tuple(parts), (result,), drawer.feeds(*parts))


def split(drawer: Drawer, dtype: str) -> Case:
    shape, axis = _shape_and_axis(drawer)
    count = drawer.integer(1, 4)
    source = drawer.activation(_with(shape, axis, count * shape[axis]), dtype)
    parts = tuple(_reshaped(source, shape) for _ in range(count))
    options = schema.SplitOptionsT()
    options.numSplits = count
    stored = axis - len(shape) if drawer.chance(0.3) else axis
    where = Value.constant(np.array(stored, np.int32))
    return Case("SPLIT", options, (where, source), parts, drawer.feeds(source))


def split_v(drawer: Drawer, dtype: str) -> Case:
    shape, axis = _shape_and_axis(drawer)
    sizes = [drawer.integer(1, 5) for _ in range(drawer.integer(1, 4))]
    source = drawer.activation(_with(shape, axis, sum(sizes)), dtype)
    parts = tuple(_reshaped(source, _with(shape, axis, size)) for size in sizes)
    options = schema.SplitVOptionsT()
    options.numSplits = len(sizes)
    stored = axis - len(shape) if drawer.chance(0.3) else axis
    lengths = Value.constant(np.array(sizes, np.int32))
    where = Value.constant(np.array(stored, np.int32))
    return Case("SPLIT_V", options, (source, lengths, where), parts, drawer.feeds(source))


def unpack(drawer: Drawer, dtype: str) -> Case:
    shape, axis = _shape_and_axis(drawer)
    source = drawer.activation(shape, dtype)
    rest = shape[:axis] + shape[axis + 1 :]
    options = schema.UnpackOptionsT()
    options.num, options.axis = shape[axis], axis
    parts = tuple(_reshaped(source, rest) for _ in range(shape[axis]))
    return Case("UNPACK", options, (source,), parts, drawer.feeds(source))


def pack(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape(drawer.integer(1, 3))
    axis, count = drawer.integer(0, len(shape)), drawer.integer(1, 4)
    like = drawer.activation(shape, dtype)
    parts = tuple(_reshaped(like, shape) for _ in range(count))
    options = schema.PackOptionsT()
    options.valuesCount, options.axis = count, axis
    result = _reshaped(like, (*shape[:axis], count, *shape[axis:]))
    return Case("PACK", options, parts, (result,), drawer.feeds(*parts))


def reshape(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape()
    source = drawer.activation(shape, dtype)
    target = drawer.one_of((int(np.prod(shape)),), shape[::-1], (1, *shape), (*shape, 1))
    options = schema.ReshapeOptionsT()
    options.newShape = list(target)
    wanted = Value.constant(np.array(target, np.int32))
    inputs = (source, wanted) if drawer.chance(0.5) else (source,)
    return Case("RESHAPE", options, inputs, (_reshaped(source, target),), drawer.feeds(source))


def expand_dims(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape(drawer.integer(1, 3))
    axis = drawer.integer(0, len(shape))
    source = drawer.activation(shape, dtype)
    target = (*shape[:axis], 1, *shape[axis:])
    inputs = (source, Value.constant(np.array([axis], np.int32)))
    options = schema.ExpandDimsOptionsT()
    return Case("EXPAND_DIMS", options, inputs, (_reshaped(source, target),), drawer.feeds(source))


def squeeze(drawer: Drawer, dtype: str) -> Case:
    shape = (1, *drawer.shape(drawer.integer(1, 2)), 1)
    source = drawer.activation(shape, dtype)
    options = schema.SqueezeOptionsT()
    options.squeezeDims = [len(shape) - 1]
    return Case(
        "SQUEEZE", options, (source,), (_reshaped(source, shape[:-1]),), drawer.feeds(source)
    )


def pad(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape()
    source = drawer.activation(shape, dtype)
    widths = [(drawer.integer(0, 3), drawer.integer(0, 3)) for _ in shape]
    target = tuple(size + sum(width) for size, width in zip(shape, widths, strict=True))
    inputs = (source, Value.constant(np.array(widths, np.int32)))
    options = schema.PadOptionsT()
    return Case("PAD", options, inputs, (_reshaped(source, target),), drawer.feeds(source))


def strided_slice(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape()
    source = drawer.activation(shape, dtype)
    options = schema.StridedSliceOptionsT()
    begin, end, strides, target = [], [], [], []
    for axis, size in enumerate(shape):
        first = drawer.integer(0, size - 1)
        last = drawer.integer(first + 1, size)
        stride = drawer.integer(1, 3)
        length = -(-(last - first) // stride)
        if drawer.chance(0.15):
            options.beginMask |= 1 << axis
            length = -(-last // stride)
            first = 0
        elif drawer.chance(0.15):
            options.endMask |= 1 << axis
            length = -(-(size - first) // stride)
        elif drawer.chance(0.15):  # counted from the end
            first, last = first - size, last - size if last < size else last
        elif drawer.chance(0.15) and len(shape) > 1:
            options.shrinkAxisMask |= 1 << axis
            last, stride, length = first + 1, 1, 0
        begin.append(first)
        end.append(last)
        strides.append(stride)
        if length:
            target.append(length)
    constants = (Value.constant(np.array(part, np.int32)) for part in (begin, end, strides))
    result = _reshaped(source, tuple(target))
    return Case("STRIDED_SLICE", options, (source, *constants), (result,), drawer.feeds(source))


def slice_(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape()
    source = drawer.activation(shape, dtype)
    begin = [drawer.integer(0, size - 1) for size in shape]
    sizes = [drawer.integer(1, size - first) for size, first in zip(shape, begin, strict=True)]
    stored = [
        -1 if first + length == size and drawer.chance(0.3) else length
        for first, length, size in zip(begin, sizes, shape, strict=True)
    ]
    constants = (Value.constant(np.array(part, np.int32)) for part in (begin, stored))
    options = schema.SliceOptionsT()
    result = _reshaped(source, tuple(sizes))
    return Case("SLICE", options, (source, *constants), (result,), drawer.feeds(source))


def transpose(drawer: Drawer, dtype: str) -> Case:
    shape = drawer.shape()
    order = drawer.rng.permutation(len(shape))
    source = drawer.activation(shape, dtype)
    target = tuple(shape[axis] for axis in order)
    inputs = (source, Value.constant(order.astype(np.int32)))
    options = schema.TransposeOptionsT()
    return Case("TRANSPOSE", options, inputs, (_reshaped(source, target),), drawer.feeds(source))


def _shape_and_axis(drawer: Drawer) -> tuple[Shape, int]:
    shape = drawer.shape(drawer.integer(2, 4))
    return shape, drawer.integer(1, len(shape) - 1)


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _reshaped(value: Value, shape: Shape) -> Value:
    return Value(shape, value.dtype, value.scales, value.zero_points)
