"""Checks of the .tflite operators that multiply and accumulate, and of pooling.

Shapes are those of TFLite's kernels: activations ``[batch, height, width, channels]``, SAME padding
gives ceil(size / stride), VALID ceil((size − reach + 1) / stride) for filters that reach over
``(length − 1) · dilation + 1`` elements.
"""

from __future__ import annotations

import math
from typing import Final

from runtime.modelfile.refusal import Damaged, demand
from runtime.modelfile.tflite_tensors import Call, TfliteTensor

LONGEST_STRIDE: Final = 1 << 12  # and dilation; the frames of a denoiser have fewer bins
SAME, VALID = 0, 1
LARGEST_MULTIPLIER: Final = 2.0**16

# Types of input, weights, bias and output that some engine computes with: float, weights stored as
# int8 with float activations, int8, and 16-bit activations with 8-bit weights.
_KINDS: Final = {
    ("float32", "float32"): ("float32",),
    ("float32", "int8"): ("float32",),
    ("int8", "int8"): ("int32",),
    ("int16", "int8"): ("int32", "int64"),
}


def conv_2d(call: Call) -> int:
    """Weight ``[out, height, width, in / groups]``."""
    source, weight = call.source(0), call.source(1)
    demand(len(source.shape) == len(weight.shape) == 4, "takes tensors of four dimensions")
    batch, _, _, channels = source.shape
    out, *kernel, depth = weight.shape
    demand(channels % depth == 0, f"has filters of depth {depth} over {channels} channels")
    demand(out % (channels // depth) == 0, f"cannot share {out} outputs among its groups")
    _check_types(call, source, weight, call.optional(2), out, axis=0)
    sides = _sides(call, source.shape[1:3], (kernel[0], kernel[1]), _dilations(call))
    call.demand_shape((batch, *sides, out))
    return call.result.elements * math.prod(kernel) * depth


def depthwise_conv_2d(call: Call) -> int:
    """Weight ``[1, height, width, in · multiplier]``."""
    source, weight = call.source(0), call.source(1)
    demand(len(source.shape) == len(weight.shape) == 4, "takes tensors of four dimensions")
    batch, _, _, channels = source.shape
    one, *kernel, out = weight.shape
    demand(one == 1 and out % channels == 0, "has filters that do not fit its channels")
    multiplier = call.options["depth_multiplier"]
    demand(multiplier * channels == out, f"has the depth multiplier {multiplier}")
    _check_types(call, source, weight, call.optional(2), out, axis=3)
    sides = _sides(call, source.shape[1:3], (kernel[0], kernel[1]), _dilations(call))
    call.demand_shape((batch, *sides, out))
    return call.result.elements * math.prod(kernel)


def transpose_conv(call: Call) -> int:
    """Inputs are the output's shape, weight ``[out, height, width, in]``, and the activations."""
    weight, source = call.source(1), call.source(2)
    demand(len(source.shape) == len(weight.shape) == 4, "takes tensors of four dimensions")
    wanted = call.integers(0)
    demand(len(wanted) == 4, "has an output shape that is not of four dimensions")
    batch, *size, channels = source.shape
    out, *kernel, depth = weight.shape
    demand(depth == channels, f"has filters of depth {depth} over {channels} channels")
    _check_types(call, source, weight, call.optional(3), out, axis=0)
    call.demand_shape(wanted)
    demand((wanted[0], wanted[3]) == (batch, out), "has another output shape than its filters")
    back = _sides(call, (wanted[1], wanted[2]), (kernel[0], kernel[1]), (1, 1))
    demand(back == tuple(size), "has an output shape that its stride does not lead to")
    return source.elements * math.prod(kernel) * out


def fully_connected(call: Call) -> int:
    """Weight ``[out, in]``; the input's elements are taken as rows of ``in``."""
    source, weight = call.source(0), call.source(1)
    demand(len(weight.shape) == 2, "has weights that are no matrix")
    out, depth = weight.shape
    demand(call.options["weights_format"] == 0, "has weights in a shuffled order")
    demand(source.elements % depth == 0, f"cannot divide its input into rows of {depth}")
    rows = source.elements // depth
    _check_types(call, source, weight, call.optional(2), out, axis=0)
    if call.options["keep_num_dims"]:
        demand(source.shape[-1:] == (depth,), "keeps dimensions that do not fit its weights")
        call.demand_shape((*source.shape[:-1], out))
    else:
        call.demand_shape((rows, out))
    return rows * depth * out


def batch_matmul(call: Call) -> int:
    """``[…, rows, depth] · […, depth, columns]``, either transposed on request."""
    left, right = call.source(0), call.source(1)
    call.demand_types(("float32", "int8", "int16"), left, right, call.result)
    call.demand_per_tensor(left, right, call.result)
    demand(len(left.shape) == len(right.shape) >= 2, "takes matrices of equal rank")
    demand(left.shape[:-2] == right.shape[:-2], "takes batches of equal shape")
    rows, depth = reversed(left.shape[-2:]) if call.options["adj_x"] else left.shape[-2:]
    inner, columns = reversed(right.shape[-2:]) if call.options["adj_y"] else right.shape[-2:]
    demand(depth == inner, "multiplies matrices that do not fit each other")
    _check_multiplier(call, left, right)
    call.demand_shape((*left.shape[:-2], rows, columns))
    return call.result.elements * depth


def pool(call: Call) -> int:
    """Average or maximum over a window."""
    source = call.source()
    demand(len(source.shape) == 4, "takes tensors of four dimensions")
    call.demand_types(("float32", "int8", "int16"), source, call.result)
    call.demand_per_tensor(source, call.result)
    window = (call.options["filter_height"], call.options["filter_width"])
    demand(all(0 < side <= LONGEST_STRIDE for side in window), f"has the window {list(window)}")
    sides = _sides(call, source.shape[1:3], window, (1, 1))
    call.demand_shape((source.shape[0], *sides, source.shape[3]))
    return call.result.elements * math.prod(window)


def _dilations(call: Call) -> tuple[int, int]:
    factors = (call.options["dilation_h_factor"], call.options["dilation_w_factor"])
    demand(all(0 < f <= LONGEST_STRIDE for f in factors), f"has the dilations {list(factors)}")
    return factors


def _sides(
    call: Call, size: tuple[int, ...], kernel: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, ...]:
    """Height and width of what a window gives that moves over ``size`` in the call's strides."""
    call.demand_activation()
    options = call.options
    strides = (options["stride_h"], options["stride_w"])
    demand(all(0 < s <= LONGEST_STRIDE for s in strides), f"has the strides {list(strides)}")
    padding = options["padding"]
    demand(padding in (SAME, VALID), f"has the padding {padding}")
    reaches = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if padding == SAME:
        return tuple(-(-side // s) for side, s in zip(size, strides, strict=True))
    for side, reach in zip(size, reaches, strict=True):
        demand(reach <= side, f"has a window of {reach} over {side} elements, unpadded")
    return tuple(
        -(-(side - reach + 1) // s) for side, reach, s in zip(size, reaches, strides, strict=True)
    )


def _check_types(
    call: Call,
    source: TfliteTensor,
    weight: TfliteTensor,
    bias: TfliteTensor | None,
    out: int,
    axis: int,
) -> None:
    """Types, scales, and a bias of length ``out``; ``axis`` of the weight has its channels."""
    kinds = _KINDS.get((source.dtype, weight.dtype))
    if kinds is None or call.result.dtype != source.dtype:
        raise Damaged(
            f"takes {source.dtype}, weights of {weight.dtype}, and gives {call.result.dtype}"
        )
    if bias is not None:
        demand(bias.dtype in kinds, f"has a bias of type {bias.dtype}")
        demand(bias.shape == (out,), f"has a bias of shape {list(bias.shape)} for {out} outputs")
    if weight.dtype == "int8":
        demand(weight.constant, "has weights that are no constant")
        demand(bias is None or bias.constant, "has a bias that is no constant")
        count = len(weight.scales)
        demand(count in (1, out), f"has weights with {count} scales for {out} outputs")
        demand(count == 1 or weight.axis == axis, f"has weights quantized along axis {weight.axis}")
        demand(not any(weight.zero_points), "has weights whose zero point is not 0")
    call.demand_per_tensor(source, call.result)
    _check_multiplier(call, source, weight)


def _check_multiplier(call: Call, left: TfliteTensor, right: TfliteTensor) -> None:
    if left.scales and right.scales and call.result.scales:
        product = left.scales[0] * max(right.scales)
        call.demand_ratio(product, call.result.scales[0], LARGEST_MULTIPLIER)
