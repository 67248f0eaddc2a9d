"""Random chains of torch's operators, convolutions and upsampling, without a network around."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from export.executor import StepExecutor
from export.importing import convolution, elementwise, moving, upsampling
from export.importing.builder import Builder
from export.importing.layout import CHANNELS_LAST, Value, laid_out
from export.importing.operands import combined
from export.importing.refusals import Unfit
from export.importing.renaming import renamed
from export.importing.simplify import simplified
from export.step_graph import StepGraph
from export.step_graph import Tensor as Stored

Draw = st.DrawFn
Pair = tuple[Value, Tensor]
Move = Callable[[st.DataObject, Builder, Value, Tensor], Pair]

usual = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def _start(shape: Sequence[int], order: Sequence[int]) -> tuple[Builder, Stored, Value, Tensor]:
    """A value whose memory lies in ``order``, and the same in torch."""
    builder = Builder()
    turned = [shape[axis] for axis in order]
    groups = [size for size in turned if size > 1][-3:]
    stored = Stored("features", (1, *(1,) * (3 - len(groups)), *groups))  # type: ignore[arg-type]
    builder.taken.add("features")
    torch.manual_seed(0)
    return builder, stored, laid_out(stored, shape, order), torch.randn(tuple(shape))


def _check(builder: Builder, entry: tuple[Stored, Tensor, Sequence[int]], pair: Pair) -> None:
    """Both sides, before and after the graph is simplified."""
    stored, first, order = entry
    value, expected = pair
    assert value.wide == tuple(expected.shape)
    axes = list(range(len(value.wide)))
    output = builder.packaged(value, [axes])
    if output.name == "features":
        output = builder.copy(output, "copied")
    operators = renamed(builder.operators, {output.name: "mask"})
    graph = StepGraph(stored, Stored("mask", output.shape), (), tuple(operators))
    features = first.permute(*order).reshape(stored.shape).numpy()
    for one in (graph, simplified(graph)):
        found = StepExecutor(one).run([features])[0]
        np.testing.assert_allclose(found.reshape(-1), expected.reshape(-1).numpy(), atol=1e-4)


def _view(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    """Some axis cut in two, or two neighbours merged."""
    shape = list(expected.shape)
    axis = data.draw(st.integers(0, len(shape) - 1))
    divisors = [size for size in range(1, shape[axis] + 1) if shape[axis] % size == 0]
    if data.draw(st.booleans()) and len(shape) < 6:
        left = data.draw(st.sampled_from(divisors))
        shape[axis : axis + 1] = [left, shape[axis] // left]
    elif axis + 1 < len(shape):
        shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
    return moving.reshape(builder, value, shape), expected.reshape(shape)


def _permute(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    order = data.draw(st.permutations(range(expected.dim())))
    return moving.permute(builder, value, order), expected.permute(*order)


def _slice(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    axis = data.draw(st.integers(0, expected.dim() - 1))
    begin = data.draw(st.integers(0, expected.shape[axis] - 1))
    end = data.draw(st.integers(begin + 1, expected.shape[axis]))
    step = data.draw(st.integers(1, 2))
    taken = expected[(slice(None),) * axis + (slice(begin, end, step),)]
    return moving.slice_(builder, value, axis, begin, end, step), taken


def _cat(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    axis = data.draw(st.integers(0, expected.dim() - 1))
    assume(expected.numel() < 500)
    other = elementwise.tanh(builder, value)
    return moving.cat(builder, [value, other], axis), torch.cat([expected, expected.tanh()], axis)


def _stack(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    assume(expected.dim() < 6 and expected.numel() < 500)
    axis = data.draw(st.integers(0, expected.dim()))
    other = elementwise.tanh(builder, value)
    stacked = torch.stack([expected, expected.tanh()], axis)
    return moving.stack(builder, [value, other], axis), stacked


def _expand(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    assume(expected.dim() < 6 and expected.numel() < 300)
    axis = data.draw(st.integers(0, expected.dim()))
    shape = list(expected.shape)
    shape.insert(axis, 2)
    raised = moving.unsqueeze(builder, value, axis)
    return moving.expand(builder, raised, shape), expected.unsqueeze(axis).expand(shape)


def _mean(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    axis, kept = data.draw(st.integers(0, expected.dim() - 1)), data.draw(st.booleans())
    assume(kept or expected.dim() > 1)
    return elementwise.mean(builder, value, axis, kept), expected.mean(axis, kept)


def _pad(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    amounts = [data.draw(st.integers(0, 2)) for _ in range(2)]
    return moving.pad(builder, value, amounts), functional.pad(expected, amounts)


def _constant(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    """A product with a constant that some axes lack."""
    shape = [size if data.draw(st.booleans()) else 1 for size in expected.shape]
    other = torch.arange(1.0, 1.0 + prod(shape)).reshape(shape) / prod(shape)
    return combined(builder, "mul", value, other), expected * other


def _broadcast(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    """A sum with its own mean along some axis."""
    axis = data.draw(st.integers(0, expected.dim() - 1))
    mean = elementwise.mean(builder, value, axis, True)
    return combined(builder, "add", mean, value), expected + expected.mean(axis, True)


def _linear(data: st.DataObject, builder: Builder, value: Value, expected: Tensor) -> Pair:
    outputs = data.draw(st.integers(1, 4))
    count = outputs * expected.shape[-1]
    weight = torch.linspace(-1.0, 1.0, count).sin().reshape(outputs, -1)
    return convolution.linear(builder, value, weight), functional.linear(expected, weight)


MOVES: tuple[Move, ...] = (
    _view,
    _permute,
    _slice,
    _cat,
    _stack,
    _expand,
    _mean,
    _pad,
    _constant,
    _broadcast,
    _linear,
)


@usual
@given(data=st.data())
def test_chains_of_moves_end_where_torchs_do(data: st.DataObject) -> None:
    sizes = [1, *(data.draw(st.sampled_from([1, 2, 3, 4, 6])) for _ in range(3))]
    order = data.draw(st.permutations(range(4)))
    builder, stored, value, expected = _start(sizes, order)
    first = expected
    try:
        for _ in range(data.draw(st.integers(1, 7))):
            move = data.draw(st.sampled_from(MOVES))
            builder.scope = move.__name__
            value, expected = move(data, builder, value, expected)
        _check(builder, (stored, first, order), (value, expected))
    except Unfit as refused:
        if "axes" not in refused.reason:  # more than fit beside each other
            raise
        event("refused")


@usual
@given(data=st.data())
def test_any_convolution(data: st.DataObject) -> None:
    """Windows of several frames as a step has them, and strides that leave a remainder."""
    groups = data.draw(st.integers(1, 3))
    channels = groups * data.draw(st.integers(1, 2))
    times, bins = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5)))
    stride = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)))
    dilation = (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2)))
    padding = (data.draw(st.integers(0, 1)), data.draw(st.integers(0, 3)))
    extra = [data.draw(st.integers(0, 3)) for _ in range(2)]
    order = data.draw(st.sampled_from([(0, 1, 2, 3), CHANNELS_LAST]))
    builder, stored, value, entry = _start((1, channels, times, bins), order)
    weight = torch.randn(groups * data.draw(st.integers(1, 2)), channels // groups, *kernel)
    bias = torch.randn(len(weight))
    padded = functional.pad(entry, extra)
    assume(
        all(
            size + 2 * around >= spread * (length - 1) + 1
            for size, around, spread, length in zip(
                padded.shape[2:], padding, dilation, kernel, strict=True
            )
        )
    )
    expected = functional.conv2d(padded, weight, bias, stride, padding, dilation, groups)
    wide = moving.pad(builder, value, extra)
    found = convolution.conv2d(builder, wide, weight, bias, stride, padding, dilation, groups)
    _check(builder, (stored, entry, order), (found, expected))


@usual
@given(data=st.data())
def test_any_transposed_convolution(data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, 3))
    channels = groups * data.draw(st.integers(1, 2))
    bins = data.draw(st.integers(1, 8))
    stride, length = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 7))
    dilation = data.draw(st.integers(1, 2))
    reach = dilation * (length - 1)
    padding = data.draw(st.integers(0, min(reach, 3)))
    more = data.draw(st.integers(0, max(stride, dilation) - 1))
    assume((bins - 1) * stride - 2 * padding + reach + more + 1 > 0)
    order = data.draw(st.sampled_from([(0, 1, 2, 3), CHANNELS_LAST]))
    builder, stored, value, entry = _start((1, channels, 1, bins), order)
    weight = torch.randn(channels, data.draw(st.integers(1, 2)), 1, length)
    bias = torch.randn(groups * weight.shape[1])
    settings_of = ((1, stride), (0, padding), (0, more), groups, (1, dilation))
    expected = functional.conv_transpose2d(entry, weight, bias, *settings_of)
    found = upsampling.conv_transpose2d(builder, value, weight, bias, *settings_of)
    _check(builder, (stored, entry, order), (found, expected))
