"""Checks of the .tflite operators that work element by element."""

from __future__ import annotations

import math
from typing import Final

from runtime.modelfile.refusal import demand
from runtime.modelfile.tflite_tensors import Call, TfliteTensor

MOST_SPREAD_RANK: Final = 4  # kernels spread one tensor over another in up to four dimensions
QUANTIZABLE: Final = ("float32", "int8", "int16")
NUMERIC: Final = (*QUANTIZABLE, "int32", "int64")
# Kernels of sums raise both inputs by 2^20 (int8) or 2^15 (int16) and abort if the output's scale
# is so small that the way back is no reduction.
SUM_HEADROOM: Final = {"int8": 2.0**19, "int16": 2.0**14}
LARGEST_MULTIPLIER: Final = 2.0**16
LARGEST_SLOPE: Final = 2.0**10


def quantizable(call: Call) -> int:
    """One input, one output of its shape and type; float32, int8 or int16."""
    return _same(call, QUANTIZABLE)


def floating(call: Call) -> int:
    """The same in float32 alone."""
    return _same(call, ("float32",))


def leaky_relu(call: Call) -> int:
    """With a slope below zero that is a bounded number."""
    _demand_bounded(call.options["alpha"], "slope")
    return _same(call, QUANTIZABLE)


def softmax(call: Call) -> int:
    """Along the last axis, with a positive factor ``beta``."""
    beta = call.options["beta"]
    _demand_bounded(beta, "beta")
    demand(beta > 0.0, f"has the beta {beta:g}")
    return along_last(call)


def along_last(call: Call) -> int:
    """Normalised along the last axis, which must be there."""
    demand(bool(call.source().shape), "takes a tensor that has dimensions")
    return _same(call, QUANTIZABLE)


def quantize(call: Call) -> int:
    """From float32, int8 or int16 to int8 or int16."""
    source, result = call.source(), call.result
    call.demand_types(QUANTIZABLE, source)
    call.demand_types(("int8", "int16"), result)
    call.demand_per_tensor(source, result)
    call.demand_shape(source.shape)
    _demand_multiplier(call, source.scales, result.scales)
    return source.elements


def dequantize(call: Call) -> int:
    """From float16, int8 or int16 to float32."""
    source, result = call.source(), call.result
    call.demand_types(("float16", "int8", "int16"), source)
    call.demand_types(("float32",), result)
    demand(source.dtype == "float16" or bool(source.scales), "takes values without a scale")
    demand(len(source.scales) <= 1 or source.constant, "takes activations with several scales")
    call.demand_shape(source.shape)
    return source.elements


def cast(call: Call) -> int:
    """Between numbers, whose scales do not matter."""
    call.demand_types(NUMERIC, call.source())
    call.demand_types(NUMERIC, call.result)
    call.demand_shape(call.source().shape)
    return call.result.elements


def sum_(call: Call) -> int:
    """Sums and differences, one input spread over the other."""
    work = _spread(call, NUMERIC)
    headroom = SUM_HEADROOM.get(call.result.dtype)
    if headroom:
        scales = (*call.source(0).scales, *call.source(1).scales)
        call.demand_ratio(max(scales), call.result.scales[0], headroom)
    return work


def product(call: Call) -> int:
    """One input spread over the other."""
    work = _spread(call, NUMERIC)
    left, right = call.source(0), call.source(1)
    if call.result.dtype in SUM_HEADROOM:
        scale = left.scales[0] * right.scales[0]
        call.demand_ratio(scale, call.result.scales[0], LARGEST_MULTIPLIER)
    return work


def quotient(call: Call) -> int:
    """Integers by integers would trap where the divisor is zero."""
    return _spread(call, ("float32",))


def power(call: Call) -> int:
    """In float32 alone: integers to the power of integers may run long."""
    return _spread(call, ("float32",))


def comparison(call: Call) -> int:
    """The larger or the smaller of two."""
    return _spread(call, NUMERIC)


def prelu(call: Call) -> int:
    """The slopes are spread over the input."""
    work = _spread(call, QUANTIZABLE)
    call.demand_shape(call.source(0).shape)
    _demand_multiplier(call, call.source(0).scales, call.result.scales)
    _demand_multiplier(call, call.source(1).scales, call.result.scales)
    return work


def spread_shape(left: TfliteTensor, right: TfliteTensor) -> tuple[int, ...]:
    """The shape of both after sides of one have been repeated to match. Raises Damaged."""
    rank = max(len(left.shape), len(right.shape))
    sides = []
    for place in range(-rank, 0):
        pair = [t.shape[place] if -place <= len(t.shape) else 1 for t in (left, right)]
        demand(
            pair[0] == pair[1] or 1 in pair,
            f"cannot spread {list(left.shape)} and {list(right.shape)} over each other",
        )
        sides.append(max(pair))
    return tuple(sides)


def _spread(call: Call, types: tuple[str, ...]) -> int:
    left, right = call.source(0), call.source(1)
    call.demand_types(types, left, right, call.result)
    call.demand_per_tensor(left, right, call.result)
    call.demand_activation()
    shape = spread_shape(left, right)
    if left.shape != right.shape:
        demand(len(shape) <= MOST_SPREAD_RANK, f"spreads over {len(shape)} dimensions")
    call.demand_shape(shape)
    return call.result.elements


def _same(call: Call, types: tuple[str, ...]) -> int:
    source, result = call.source(), call.result
    call.demand_types(types, source, result)
    call.demand_per_tensor(source, result)
    call.demand_shape(source.shape)
    _demand_multiplier(call, source.scales, result.scales)
    return result.elements


def _demand_multiplier(call: Call, source: tuple[float, ...], result: tuple[float, ...]) -> None:
    if source and result:
        call.demand_ratio(source[0], result[0], LARGEST_MULTIPLIER)


def _demand_bounded(value: float, name: str) -> None:
    demand(math.isfinite(value) and abs(value) <= LARGEST_SLOPE, f"has the {name} {value:g}")
