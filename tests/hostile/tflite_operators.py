"""Files of one operator each, with operands that its kernel would follow out of bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.export.c.exactness.files import Case, Value, file_of
from tests.hostile.bases import Base
from tests.hostile.specimen import Specimen, specimen

SHAPE = (1, 4, 6, 8)
FAR = 2**31 - 1
Operands = tuple[Value, ...]


def tflite_operators(base: Base) -> Iterator[Specimen]:
    """One specimen a case; the sidecar is that of ``base``, whose interface comes later."""
    for name, case in _cases():
        yield specimen(base, "wrong operands", f"{case.operator}: {name}", file_of([case]))


def _float(*shape: int) -> Value:
    return Value(shape, "float32")


def _numbers(*values: Any) -> Value:
    return Value.constant(np.array(values, np.int32))


def _options(name: str, **values: Any) -> Any:
    options = getattr(schema, f"{name}OptionsT")()
    for key, value in values.items():
        setattr(options, key, value)
    return options


def _case(operator: str, options: Any, inputs: Operands, *outputs: tuple[int, ...]) -> Case:
    return Case(operator, options, inputs, tuple(_float(*shape) for shape in outputs), ())


def _cases() -> Iterator[tuple[str, Case]]:
    source = _float(*SHAPE)
    inputs: Operands
    yield from _slices(source)
    for order in ((0, 1, 2, 4), (0, 0, 1, 2), (0, 1, 2), (-1, 0, 1, 2), (FAR, 0, 1, 2)):
        inputs = (source, _numbers(*order))
        yield f"order {order}", _case("TRANSPOSE", _options("Transpose"), inputs, SHAPE)
    for pads in (((0, 0),) * 3, ((0, 0), (-1, 0), (0, 0), (0, 0)), ((0, FAR), *((0, 0),) * 3)):
        inputs = (source, _numbers(*pads))
        yield f"{pads}", _case("PAD", _options("Pad"), inputs, SHAPE)
    for reach in ((0, 9), (9, 0), (FAR, FAR)):
        inputs = (source, _numbers((0, 0), (0, 0), reach, (0, 0)))
        yield f"{reach}", _case("MIRROR_PAD", _options("MirrorPad", mode=0), inputs, SHAPE)
    for axis in (5, -6, FAR):  # even where a dimension is added
        inputs = (_numbers(axis), source)
        options = _options("Split", numSplits=2)
        yield f"axis {axis}", _case("SPLIT", options, inputs, (1, 4, 6, 4), (1, 4, 6, 4))
        options = _options("Unpack", num=4, axis=axis)
        yield f"axis {axis}", _case("UNPACK", options, (source,), *((1, 6, 8),) * 4)
        options = _options("Pack", valuesCount=2, axis=axis)
        yield f"axis {axis}", _case("PACK", options, (source, source), (2, *SHAPE))
        inputs = (source, _numbers(axis))
        yield f"axis {axis}", _case("MEAN", _options("Reducer"), inputs, (4, 6, 8))
        options = _options("Gather", axis=axis)
        yield f"axis {axis}", _case("GATHER", options, (source, _numbers(0, 1)), (2, 4, 6, 8))
        yield f"axis {axis}", _case("EXPAND_DIMS", _options("ExpandDims"), inputs, (1, *SHAPE))
        options = _options("Squeeze", squeezeDims=[axis])
        yield f"axis {axis}", _case("SQUEEZE", options, (source,), (4, 6, 8))
    for count in (0, 3, FAR):
        options = _options("Split", numSplits=count)
        yield f"{count} parts", _case("SPLIT", options, (_numbers(3), source), (1, 4, 6, 4))
    for sizes in ((9, -1), (-1, -1), (0, 8), (FAR, 1), (8,)):
        inputs = (source, _numbers(*sizes), _numbers(3))
        options = _options("SplitV", numSplits=len(sizes))
        parts = ((1, 4, 6, 4),) * len(sizes)
        yield f"sizes {sizes}", _case("SPLIT_V", options, inputs, *parts)
    for index in (4, -1, FAR):
        inputs = (source, _numbers(0, index))
        options = _options("Gather", axis=1)
        yield f"index {index}", _case("GATHER", options, inputs, (1, 2, 6, 8))
    yield from _windows(source)
    for block in (0, -1, 3, FAR):
        options = _options("DepthToSpace", blockSize=block)
        yield f"block {block}", _case("DEPTH_TO_SPACE", options, (source,), (1, 8, 12, 2))
    for size in ((0, 3), (-1, 3), (FAR, FAR)):
        options = _options("ResizeNearestNeighbor")
        inputs = (source, _numbers(*size))
        yield f"to {size}", _case("RESIZE_NEAREST_NEIGHBOR", options, inputs, (1, 8, 12, 8))
    far = Value((FAR // 2, 1), "float32")
    wide = Value((1, FAR // 2), "float32")
    yield "outer", _case("ADD", _options("Add"), (far, wide), (1, 4))
    yield "shapes", _case("ADD", _options("Add"), (source, _float(1, 4, 6, 7)), SHAPE)
    yield "shorter", _case("MUL", _options("Mul"), (source, _float(3)), SHAPE)
    options = _options("FullyConnected", weightsFormat=1)
    weight = Value.constant(np.ones((8, 8), np.float32))
    yield "shuffled", _case("FULLY_CONNECTED", options, (source, weight), (24, 8))


def _slices(source: Value) -> Iterator[tuple[str, Case]]:
    inputs: Operands
    begin, end, ones = (0, 0, 0, 0), SHAPE, (1, 1, 1, 1)
    bad: dict[str, tuple[Any, Any, Any, dict[str, int]]] = {
        "nothing is left": ((0, 9, 0, 0), end, ones, {}),
        "backwards": ((0, 3, 0, 0), (1, 1, 6, 8), ones, {}),
        "stride 0": (begin, end, (1, 0, 1, 1), {}),
        "too few": ((0, 0), (1, 2), (1, 1), {}),
        "too many": ((0,) * 6, (1,) * 6, (1,) * 6, {}),
        "more than there is": (begin, (1, 4, 6, 8), (1, 2, 1, 1), {}),
        "one that is not there": ((0, 4, 0, 0), end, ones, {"shrinkAxisMask": 2}),
        "far before": ((0, -FAR, 0, 0), end, ones, {"shrinkAxisMask": 2}),
        "ellipsis": (begin, end, ones, {"ellipsisMask": 3}),
        "new axis": (begin, end, ones, {"newAxisMask": 15}),
        "mask": (begin, end, ones, {"beginMask": -1}),
    }
    for name, (first, last, strides, masks) in bad.items():
        inputs = (source, _numbers(*first), _numbers(*last), _numbers(*strides))
        yield name, _case("STRIDED_SLICE", _options("StridedSlice", **masks), inputs, SHAPE)
    for first, size in (((0, 2, 0, 0), (1, 3, 6, 8)), ((0, -1, 0, 0), SHAPE), (begin, (FAR,) * 4)):
        inputs = (source, _numbers(*first), _numbers(*size))
        yield f"{first} {size}", _case("SLICE", _options("Slice"), inputs, SHAPE)


def _windows(source: Value) -> Iterator[tuple[str, Case]]:
    inputs: Operands
    for window in ((0, 1), (5, 1), (FAR, FAR), (-1, 1)):
        options = _options("Pool2D", filterHeight=window[0], filterWidth=window[1])
        options.strideH = options.strideW = 1
        options.padding = schema.Padding.VALID
        for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            yield f"window {window}", _case(kind, options, (source,), (1, 4, 6, 8))
    weight = Value.constant(np.ones((8, 3, 3, 8), np.float32))
    for shape in ((1, 4, 6, 8), (1, 0, 12, 8), (1, 999, 12, 8), (FAR,) * 4, (1, 8), (2, 8, 12, 8)):
        options = _options("TransposeConv", strideH=2, strideW=2)
        inputs = (_numbers(*shape), weight, source)
        yield f"to {shape}", _case("TRANSPOSE_CONV", options, inputs, (1, 8, 12, 8))
    for multiplier in (0, 2, -1, FAR):
        weight = Value.constant(np.ones((1, 3, 3, 8), np.float32))
        options = _options("DepthwiseConv2D", strideH=1, strideW=1, depthMultiplier=multiplier)
        inputs = (source, weight)
        yield f"multiplier {multiplier}", _case("DEPTHWISE_CONV_2D", options, inputs, SHAPE)
    weight = Value.constant(np.ones((8, 3, 3, 3), np.float32))
    options = _options("Conv2D", strideH=1, strideW=1)
    yield "filters of depth 3", _case("CONV_2D", options, (source, weight), SHAPE)
