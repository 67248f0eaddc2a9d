"""Transposed convolutions, sub-pixel shuffles and nearest neighbours: from few bins to many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.importing.builder import Array, Builder
from export.importing.convolution import bias_of, convolved, image_of, pair, single
from export.importing.layout import CHANNELS_LAST, Value, laid_out
from export.importing.moving import reshape
from export.importing.operands import Entry, array_of, fixed
from export.importing.refusals import Unfit
from export.step_graph import Padding, Tensor, TransposeConv2d

Pair = tuple[int, int]


def conv_transpose2d(
    builder: Builder,
    source: Value,
    weight: Entry,
    bias: Entry | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Value:
    """``weight`` is ``[in, out / groups, time, frequency]``."""
    kernel = _spread(_kernel(array_of(fixed(weight)), groups), pair(dilation))
    strides, cut = pair(stride), pair(padding)
    image, batch = image_of(
        builder, source, tall=kernel.shape[1] > 1 or strides[0] > 1 or cut[0] > 0
    )
    sizes = [
        (size - 1) * step - 2 * off + length + more
        for size, step, off, length, more in zip(
            image.shape[1:3], strides, cut, kernel.shape[1:3], pair(output_padding), strict=True
        )
    ]
    wanted = (sizes[0], sizes[1])
    weights = (kernel, bias_of(bias, len(kernel)))
    if strides == (1, 1):
        output = _flipped(builder, image, weights, cut, wanted)
    elif groups == 1:
        output = _transposed(builder, image, weights, strides, cut, wanted)
    elif strides[0] == 1 and kernel.shape[1] == 1:
        output = _by_phases(builder, image, weights, strides[1], cut[1], wanted[1])
    else:
        raise Unfit(
            "it is grouped and has a stride and a kernel along time",
            "Upsample along frequency with a kernel of one frame, or use groups=1.",
        )
    return laid_out(output, (batch, len(kernel), wanted[0] // batch, wanted[1]), CHANNELS_LAST)


def conv_transpose1d(
    builder: Builder,
    source: Value,
    weight: Entry,
    bias: Entry | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    output_padding: Sequence[int] = (0,),
    groups: int = 1,
    dilation: Sequence[int] = (1,),
) -> Value:
    wide = conv_transpose2d(
        builder,
        source.unsqueezed(2),
        fixed(weight).unsqueeze(2),
        bias,
        (1, single(stride)),
        (0, single(padding)),
        (0, single(output_padding)),
        groups,
        (1, single(dilation)),
    )
    return wide.squeezed(2)


def _kernel(weight: Array, groups: int) -> Array:
    """``[out, time, frequency, in / groups]``"""
    inputs, outputs, *lengths = weight.shape
    apart = weight.reshape(groups, inputs // groups, outputs, *lengths)
    kernel: Array = apart.transpose(0, 2, 3, 4, 1).reshape(
        groups * outputs, *lengths, inputs // groups
    )
    return np.ascontiguousarray(kernel)


def _spread(kernel: Array, dilation: Pair) -> Array:
    """A dilated kernel written out, with zeros between its taps."""
    outputs, time, bins, inputs = kernel.shape
    lengths = (dilation[0] * (time - 1) + 1, dilation[1] * (bins - 1) + 1)
    wide = np.zeros((outputs, *lengths, inputs), np.float32)
    wide[:, :: dilation[0], :: dilation[1]] = kernel
    return wide


def _flipped(
    builder: Builder, image: Tensor, weights: tuple[Array, Array], cut: Pair, wanted: Pair
) -> Tensor:
    """Without stride it is a convolution with the kernel turned round."""
    kernel, bias = weights
    zeros = []
    for axis in (0, 1):
        length = kernel.shape[1 + axis]
        before = length - 1 - cut[axis]
        after = wanted[axis] + length - 1 - image.shape[1 + axis] - before
        if before < 0 or after < 0:
            raise Unfit("its padding cuts off more than its kernel adds", "Use less padding.")
        zeros.append((before, after))
    turned = np.ascontiguousarray(kernel[:, ::-1, ::-1])
    return convolved(builder, image, turned, bias, (1, 1), (1, 1), (zeros[0], zeros[1]))


def _transposed(
    builder: Builder,
    image: Tensor,
    weights: tuple[Array, Array],
    stride: Pair,
    cut: Pair,
    wanted: Pair,
) -> Tensor:
    """SAME where it cuts what torch's padding cuts; else the whole, and a slice of it."""
    kernel, bias = weights
    same = True
    for axis in (0, 1):
        size, step = image.shape[1 + axis], stride[axis]
        total = max((size - 1) * step + kernel.shape[1 + axis] - wanted[axis], 0)
        same &= -(-wanted[axis] // step) == size and total // 2 == cut[axis]
    padding: Padding = "same" if same else "valid"
    whole = [
        (size - 1) * step + length
        for size, step, length in zip(image.shape[1:3], stride, kernel.shape[1:3], strict=True)
    ]
    extent = wanted
    if not same:  # what is cut at the end must be there before
        extent = (max(whole[0], wanted[0] + cut[0]), max(whole[1], wanted[1] + cut[1]))
    moved = extent != wanted
    name = builder.name("whole" if moved else "")
    output = builder.add(
        TransposeConv2d(
            Tensor(name, (1, *extent, len(kernel))), image, kernel, bias, stride, padding
        )
    )
    if moved:
        for axis in (0, 1):
            output = builder.slice(output, 1 + axis, cut[axis], wanted[axis], part="cut")
    return output


def _by_phases(
    builder: Builder,
    image: Tensor,
    weights: tuple[Array, Array],
    step: int,
    cut: int,
    wanted: int,
) -> Tensor:
    """One convolution for each of ``step`` neighbouring outputs, interleaved by a reshape.

    Output ``step · i + r`` is the sum over m of input ``i − m`` times tap ``step · m + r``.
    """
    kernel, bias = weights
    outputs, _, length, inputs = kernel.shape
    taps = -(-length // step)
    full = np.zeros((outputs, 1, taps * step, inputs), np.float32)
    full[:, :, :length] = kernel
    bins = image.shape[2]
    after = max(taps - 1, -(-(wanted + cut) // step) - bins)
    phases = []
    for phase in range(step):
        turned = np.ascontiguousarray(full[:, :, phase::step][:, :, ::-1])
        phases.append(
            convolved(
                builder, image, turned, bias, (1, 1), (1, 1), ((0, 0), (taps - 1, after)), "phase"
            )
        )
    woven = builder.concat(phases, 3, "phases")
    _, times, positions, _ = woven.shape
    whole = builder.reshape(woven, (1, times, positions * step, outputs), "woven")
    return builder.slice(whole, 2, cut, wanted, part="cut")


def pixel_shuffle(builder: Builder, source: Value, upscale_factor: int) -> Value:
    """Channels become bins (and frames): Shi et al. 2016, equation 4."""
    factor = upscale_factor
    *batch, channels, times, bins = source.wide
    inner = channels // factor**2
    split = reshape(builder, source, [*batch, inner, factor, factor, times, bins])
    rank = len(split.shape)
    order = [*range(rank - 4), rank - 2, rank - 4, rank - 1, rank - 3]
    return reshape(builder, split.permuted(order), [*batch, inner, times * factor, bins * factor])


def upsample_nearest(
    builder: Builder,
    source: Value,
    output_size: Sequence[int] | None,
    scale_factors: Sequence[float] | None = None,
    *_: float | None,
) -> Value:
    """Whole factors only."""
    lengths = source.wide[2:]
    factors = scale_factors
    if output_size is not None:
        factors = [size / length for size, length in zip(output_size, lengths, strict=True)]
    value = source
    for axis, factor in enumerate(factors or [], 2):
        if factor != int(factor):
            raise Unfit(f"it upsamples by {factor:g}", "Upsample by a whole number.")
        value = repeated(builder, value, axis, int(factor))
    return value


def repeated(builder: Builder, source: Value, axis: int, times: int) -> Value:
    """Every entry along ``axis``, ``times`` times in a row."""
    if times == 1:
        return source
    value = builder.solid(source)
    shifted = [old + (old > axis) for old in value.order]
    place = shifted.index(axis) + 1
    shape = (*value.shape[: axis + 1], 1, *value.shape[axis + 1 :])
    order = (*shifted[:place], axis + 1, *shifted[place:])
    copies = builder.solid(
        laid_out(value.tensor, shape, order).expanded(
            (*shape[: axis + 1], times, *shape[axis + 2 :])
        )
    )
    longer = [*value.shape[:axis], times * value.shape[axis], *value.shape[axis + 1 :]]
    return reshape(builder, copies, longer)


def repeat_interleave(builder: Builder, source: Value, repeats: int, dim: int) -> Value:
    if not isinstance(repeats, int):
        raise Unfit("each entry is repeated another number of times", "Use one number for all.")
    return repeated(builder, source, dim % len(source.wide), repeats)
