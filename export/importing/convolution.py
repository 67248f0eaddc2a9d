"""Convolutions and matrix products with fixed weights.

A matrix product is a 1×1 convolution. Padding becomes TensorFlow's SAME rule where the two agree,
and zeros in front of the convolution elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from export.importing.builder import Array, Builder
from export.importing.layout import CHANNELS_LAST, Value, completed, laid_out
from export.importing.operands import Entry, array_of, fixed
from export.importing.refusals import Unfit
from export.step_graph import Conv2d, Pad, Padding, Tensor

_FIXED = "Use fixed weights: Linear or a convolution."
LARGEST_STRIDE = 3  # NPUs stop there


def conv2d(
    builder: Builder,
    source: Value,
    weight: Entry,
    bias: Entry | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    """``weight`` is ``[out, in / groups, time, frequency]``."""
    kernel = _channels_last(array_of(fixed(weight)))
    strides, spread = pair(stride), pair(dilation)
    zeros = _zeros(padding, kernel.shape[1:3], spread)
    image, batch = image_of(
        builder, source, tall=kernel.shape[1] > 1 or strides[0] > 1 or any(zeros[0])
    )
    output = convolved(builder, image, kernel, bias_of(bias, len(kernel)), strides, spread, zeros)
    times, bins = output.shape[1] // batch, output.shape[2]
    return laid_out(output, (batch, len(kernel), times, bins), CHANNELS_LAST)


def conv1d(
    builder: Builder,
    source: Value,
    weight: Entry,
    bias: Entry | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] | str = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Value:
    """Along the last axis, whatever it means; ``weight`` is ``[out, in / groups, length]``."""
    spread = padding if isinstance(padding, str) else (0, single(padding))
    wide = conv2d(
        builder,
        source.unsqueezed(2),
        fixed(weight).unsqueeze(2),
        bias,
        (1, single(stride)),
        spread,
        (1, single(dilation)),
        groups,
    )
    return wide.squeezed(2)


def linear(builder: Builder, source: Value, weight: Entry, bias: Entry | None = None) -> Value:
    """``weight`` is ``[out, in]``; it works along the last axis."""
    matrix = array_of(fixed(weight))
    value = builder.solid(source)
    last = len(value.shape) - 1
    leading = [axis for axis in value.filled if axis != last]
    held = value.axes()
    if held is not None and held[3] == ([last] if value.shape[last] > 1 else []):
        tensor = value.tensor
    else:
        tensor = builder.packaged(value, [leading, [last]])
    output = pointwise(builder, tensor, matrix, bias_of(bias, len(matrix)))
    shape = (*value.shape[:-1], len(matrix))
    order = (*(axis for axis in completed(leading, last + 1) if axis != last), last)
    return laid_out(output, shape, order)


def pointwise(
    builder: Builder, source: Tensor, matrix: Array, bias: Array, part: str = ""
) -> Tensor:
    """A matrix ``[out, in]`` along the last axis of a step graph's tensor."""
    weight = np.ascontiguousarray(matrix[:, None, None, :])
    shape = (1, source.shape[1], source.shape[2], len(matrix))
    return builder.add(Conv2d(Tensor(builder.name(part), shape), source, weight, bias))


def addmm(
    builder: Builder,
    bias: Entry,
    source: Value,
    weight: Entry,
    beta: float = 1.0,
    alpha: float = 1.0,
) -> Value:
    return linear(builder, source, alpha * fixed(weight).t(), beta * fixed(bias))


def matmul(builder: Builder, left: Entry, right: Entry) -> Value:
    """One factor is constant and a matrix."""
    if isinstance(left, Value):
        if isinstance(right, Value):
            raise Unfit("both of its factors are computed", _FIXED)
        return _times(builder, left, torch.as_tensor(right))
    assert isinstance(right, Value)
    turned = list(range(len(right.shape)))
    turned[-2:] = turned[:-3:-1]
    product = _times(builder, right.permuted(turned), torch.as_tensor(left).mT)
    return product.permuted(turned)


def _times(builder: Builder, source: Value, matrix: torch.Tensor) -> Value:
    while matrix.dim() > 2 and matrix.shape[0] == 1:
        matrix = matrix[0]
    if matrix.dim() != 2:
        raise Unfit("its constant factor is not one matrix", _FIXED)
    return linear(builder, source, matrix.t())


def avg_pool2d(
    builder: Builder,
    source: Value,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """A depthwise convolution whose weights are all one over their number."""
    kernel = pair(kernel_size)
    if ceil_mode or divisor_override or (any(padding) and not count_include_pad):
        raise Unfit(
            "it counts values at the edges in another way",
            "Leave ceil_mode, count_include_pad and divisor_override as they are by default.",
        )
    channels = source.wide[1]
    weight = torch.full((channels, 1, *kernel), 1.0 / prod(kernel))
    return conv2d(builder, source, weight, None, stride or kernel, padding, groups=channels)


def avg_pool1d(
    builder: Builder,
    source: Value,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Value:
    length = single(kernel_size)
    wide = avg_pool2d(
        builder,
        source.unsqueezed(2),
        (1, length),
        (1, single(stride) if stride else length),
        (0, single(padding)),
        ceil_mode,
        count_include_pad,
    )
    return wide.squeezed(2)


def im2col(
    builder: Builder,
    source: Value,
    kernel_size: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    stride: Sequence[int] = (1, 1),
) -> Value:
    """Neighbours as channels (torch's unfold): a depthwise convolution that copies each of them."""
    kernel = pair(kernel_size)
    channels, taps = source.wide[1], prod(kernel)
    weight = torch.eye(taps).reshape(taps, 1, *kernel).repeat(channels, 1, 1, 1)
    image = conv2d(builder, source, weight, None, stride, padding, dilation, channels)
    if image.shape[2] != 1 and image.shape[3] != 1:
        raise Unfit("it unfolds more than one frame", "Unfold one frame at a time.")
    return image.squeezed(2) if image.shape[2] == 1 else image.squeezed(3)


def batch_norm(
    builder: Builder,
    source: Value,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool = False,
    momentum: float = 0.0,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Value:
    """A gain and a bias per channel: a 1×1 depthwise convolution, until it is folded."""
    if training or running_mean is None or running_var is None:
        raise Unfit(
            "it normalises with statistics of the frame itself",
            "Keep running statistics (track_running_stats=True) and export in evaluation mode.",
        )
    gain = 1.0 / (running_var.double() + eps).sqrt()
    gain = gain if weight is None else gain * weight.double()
    shift = -running_mean.double() * gain
    shift = shift if bias is None else shift + bias.double()
    value = builder.solid(source)
    rank = len(value.shape)
    tensor = _channels_at_the_end(builder, value)
    filled = [axis for axis in value.filled if axis != 1] + [1]
    output = Tensor(builder.name(), tensor.shape)
    kernel = array_of(gain)[:, None, None, None]
    builder.add(Conv2d(output, tensor, kernel, array_of(shift)))
    order = completed([axis for axis in filled if value.shape[axis] > 1], rank)
    return laid_out(output, value.shape, order)


def _channels_at_the_end(builder: Builder, value: Value) -> Tensor:
    """A tensor whose last axis is torch's axis 1."""
    held = value.axes()
    if held is not None and held[3] == ([1] if value.shape[1] > 1 else []):
        return value.tensor
    return builder.packaged(value, [[axis for axis in value.filled if axis != 1], [1]])


def convolved(
    builder: Builder,
    source: Tensor,
    kernel: Array,
    bias: Array,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    zeros: tuple[tuple[int, int], tuple[int, int]],
    part: str = "",
) -> Tensor:
    """One convolution; ``kernel`` is ``[out, time, frequency, in / groups]``, ``zeros`` are those
    before and after time and frequency."""
    source, zeros = _unpadded(builder, source, zeros)
    padding, strides, zeros = _rule(source, kernel, stride, dilation, zeros)
    lengths = [
        (size + sum(around) - spread * (taps - 1) - 1) // step + 1
        for size, around, spread, taps, step in zip(
            source.shape[1:3], zeros, dilation, kernel.shape[1:3], stride, strict=True
        )
    ]
    if min(lengths) < 1:
        raise Unfit("its kernel is longer than its input", "Give the step its history as a state.")
    if padding == "valid":
        before = (0, zeros[0][0], zeros[1][0], 0)
        source = builder.pad(source, before, (0, zeros[0][1], zeros[1][1], 0))
    output = Tensor(builder.name(part), (1, lengths[0], lengths[1], len(kernel)))
    return builder.add(Conv2d(output, source, kernel, bias, strides, "none", padding, dilation))


def _rule(
    source: Tensor,
    kernel: Array,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    zeros: tuple[tuple[int, int], tuple[int, int]],
) -> tuple[Padding, tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]:
    """SAME or VALID, with the strides and zeros that then hold.

    A window that leaves one frame may take any stride along time; with its own length SAME pads
    nothing there.
    """
    strides = list(stride)
    trimmed = []
    for axis in (0, 1):
        size, reach = source.shape[1 + axis], dilation[axis] * (kernel.shape[1 + axis] - 1) + 1
        before, after = zeros[axis]
        count = (size + before + after - reach) // strides[axis] + 1
        needed = (count - 1) * strides[axis] + reach - size - before
        trimmed.append((before, max(0, min(after, needed))))
        if axis == 0 and count == 1 and reach == size <= LARGEST_STRIDE and not any(trimmed[0]):
            strides[0] = size
    around = (trimmed[0], trimmed[1])
    if not any(map(any, around)):
        return "valid", stride, around
    for axis in (0, 1):
        size, reach = source.shape[1 + axis], dilation[axis] * (kernel.shape[1 + axis] - 1) + 1
        steps = -(-size // strides[axis])
        total = max((steps - 1) * strides[axis] + reach - size, 0)
        if around[axis] != (total // 2, total - total // 2):
            return "valid", stride, around
    return "same", (strides[0], strides[1]), around


def _unpadded(
    builder: Builder, source: Tensor, zeros: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[Tensor, tuple[tuple[int, int], tuple[int, int]]]:
    """Zeros that an operator before put around the frame, counted to those of the convolution."""
    made = builder.made_by.get(source.name)
    if not isinstance(made, Pad) or made.before[3] or made.after[3]:
        return source, zeros
    time, bins = (
        (around[0] + made.before[axis], around[1] + made.after[axis])
        for axis, around in zip((1, 2), zeros, strict=True)
    )
    return made.input, (time, bins)


def image_of(builder: Builder, source: Value, *, tall: bool) -> tuple[Tensor, int]:
    """``[1, time, frequency, channels]`` and the size of torch's batch axis, which lies in time.

    ``tall``: a kernel sees several times at once.
    """
    value = builder.solid(source)
    batch = value.shape[0]
    if batch > 1 and tall:
        raise Unfit("it convolves several frames of a batch", "Keep one stream: a batch of 1.")
    return builder.packaged(value, [[0, 2], [3], [1]]), batch


def _channels_last(weight: Array) -> Array:
    return np.ascontiguousarray(weight.transpose(0, 2, 3, 1))


def _zeros(
    padding: Sequence[int] | str, kernel: Sequence[int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        totals = [spread * (size - 1) for spread, size in zip(dilation, kernel, strict=True)]
        time, bins = ((total // 2, total - total // 2) for total in totals)
        return time, bins
    assert not isinstance(padding, str)
    before, beside = pair(padding)
    return (before, before), (beside, beside)


def bias_of(bias: Entry | None, count: int) -> Array:
    """``[count]``, zeros where there is none."""
    if bias is None:
        return np.zeros(count, np.float32)
    return np.ascontiguousarray(array_of(fixed(bias)))


def pair(values: Sequence[int] | int) -> tuple[int, int]:
    if isinstance(values, int):
        return values, values
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def single(values: Sequence[int] | int) -> int:
    return values if isinstance(values, int) else values[0]
