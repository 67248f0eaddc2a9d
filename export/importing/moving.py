"""Operators of torch that move values or only see them otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from export.importing.builder import Builder
from export.importing.layout import (
    AXES,
    CHANNELS_LAST,
    Value,
    around,
    blocks,
    completed,
    grouped,
    laid_out,
    packed,
)
from export.importing.operands import Entry, joined, part_of
from export.importing.refusals import Unfit

_MIXED = "Add the constant instead of concatenating it, or make it a state."


def reshape(builder: Builder, source: Value, shape: Sequence[int]) -> Value:
    """Axes that are split or merged must be neighbours in memory; else values are moved."""
    value = builder.solid(source)
    wanted = _known(shape, prod(value.shape))
    pairs = blocks(value.shape, wanted)
    block_of = {axis: pair for pair in pairs for axis in pair[0]}
    filled: list[int] = []
    for axis in value.filled:
        if axis not in filled:
            filled += block_of[axis][0]
    value = builder.ordered(value, filled)
    order: list[int] = []
    for axis in filled:
        mine, theirs = block_of[axis]
        if axis == mine[0]:
            order += theirs
    tensor = value.tensor
    if grouped(tensor.shape, order, wanted) is None:
        groups = [[axis] for axis in order]
        while len(groups) > AXES:
            groups[0:2] = [groups[0] + groups[1]]
        tensor = builder.reshape(tensor, packed(groups, wanted))
    return laid_out(tensor, wanted, completed(order, len(wanted)))


def _known(shape: Sequence[int], size: int) -> tuple[int, ...]:
    rest = prod(length for length in shape if length != -1)
    return tuple(size // rest if length == -1 else length for length in shape)


def flatten(builder: Builder, source: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    rank = len(source.wide)
    start, end = start_dim % rank, end_dim % rank
    merged = prod(source.wide[start : end + 1])
    return reshape(builder, source, [*source.wide[:start], merged, *source.wide[end + 1 :]])


def unflatten(builder: Builder, source: Value, dim: int, sizes: Sequence[int]) -> Value:
    axis = dim % len(source.wide)
    split = _known(sizes, source.wide[axis])
    return reshape(builder, source, [*source.wide[:axis], *split, *source.wide[axis + 1 :]])


def permute(builder: Builder, source: Value, dims: Sequence[int]) -> Value:
    rank = len(source.wide)
    return source.permuted([axis % rank for axis in dims])


def transpose(builder: Builder, source: Value, dim0: int, dim1: int) -> Value:
    order = list(range(len(source.wide)))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return source.permuted(order)


def t(builder: Builder, source: Value) -> Value:
    return source.permuted(list(range(len(source.wide)))[::-1])


def matrix_transpose(builder: Builder, source: Value) -> Value:
    return transpose(builder, source, -2, -1)


def movedim(
    builder: Builder, source: Value, origin: int | Sequence[int], destination: int | Sequence[int]
) -> Value:
    rank = len(source.wide)
    taken = [axis % rank for axis in _several(origin)]
    placed = dict(zip((axis % rank for axis in _several(destination)), taken, strict=True))
    others = iter(axis for axis in range(rank) if axis not in taken)
    return source.permuted([placed[k] if k in placed else next(others) for k in range(rank)])


def _several(axes: int | Sequence[int]) -> Sequence[int]:
    return [axes] if isinstance(axes, int) else axes


def unsqueeze(builder: Builder, source: Value, dim: int) -> Value:
    return source.unsqueezed(dim % (len(source.wide) + 1))


def squeeze(builder: Builder, source: Value, dim: int | Sequence[int] | None = None) -> Value:
    rank = len(source.wide)
    if dim is None:
        axes = list(range(rank))
    else:
        axes = [axis % rank for axis in ([dim] if isinstance(dim, int) else dim)]
    value = source
    for axis in sorted(axes, reverse=True):
        if value.wide[axis] == 1:
            value = value.squeezed(axis)
    return value


def expand(builder: Builder, source: Value, size: Sequence[int]) -> Value:
    value = source.raised(len(size))
    pairs = zip(size, value.wide, strict=True)
    return value.expanded([old if new == -1 else new for new, old in pairs])


def expand_as(builder: Builder, source: Value, other: Entry) -> Value:
    return expand(
        builder, source, other.wide if isinstance(other, Value) else torch.as_tensor(other).shape
    )


def repeat(builder: Builder, source: Value, repeats: Sequence[int]) -> Value:
    value = source.raised(len(repeats))
    for axis, times in enumerate(repeats):
        if times > 1:
            value = joined(builder, [value] * times, axis)
    return value


def cat(builder: Builder, tensors: Sequence[Entry], dim: int = 0) -> Value:
    values = [_computed(entry) for entry in tensors if not _empty(entry)]
    axis = dim % len(values[0].wide)
    return values[0] if len(values) == 1 else joined(builder, values, axis)


def stack(builder: Builder, tensors: Sequence[Entry], dim: int = 0) -> Value:
    values = [_computed(entry) for entry in tensors]
    axis = dim % (len(values[0].wide) + 1)
    return cat(builder, [value.unsqueezed(axis) for value in values], axis)


def _computed(entry: Entry) -> Value:
    if not isinstance(entry, Value):
        raise Unfit("it joins computed values and a constant", _MIXED)
    return entry


def _empty(entry: Entry) -> bool:
    return isinstance(entry, torch.Tensor) and entry.numel() == 0


def slice_(
    builder: Builder,
    source: Value,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Value:
    axis = dim % len(source.wide)
    taken = range(source.wide[axis])[start:end:step]
    return part_of(builder, source, axis, taken.start, len(taken), step)


def narrow(builder: Builder, source: Value, dim: int, start: int, length: int) -> Value:
    axis = dim % len(source.wide)
    return part_of(builder, source, axis, start % source.wide[axis], length)


def select(builder: Builder, source: Value, dim: int, index: int) -> Value:
    axis = dim % len(source.wide)
    return part_of(builder, source, axis, index % source.wide[axis], 1).squeezed(axis)


def split(builder: Builder, source: Value, split_size: int, dim: int = 0) -> list[Value]:
    length = source.wide[dim % len(source.wide)]
    sizes = [min(split_size, length - begin) for begin in range(0, length, split_size)]
    return split_with_sizes(builder, source, sizes, dim)


def split_with_sizes(
    builder: Builder, source: Value, split_sizes: Sequence[int], dim: int = 0
) -> list[Value]:
    axis = dim % len(source.wide)
    begins = [sum(split_sizes[:index]) for index in range(len(split_sizes))]
    return [
        part_of(builder, source, axis, begin, size)
        for begin, size in zip(begins, split_sizes, strict=True)
    ]


def chunk(builder: Builder, source: Value, chunks: int, dim: int = 0) -> list[Value]:
    return split(builder, source, -(-source.wide[dim % len(source.wide)] // chunks), dim)


def unbind(builder: Builder, source: Value, dim: int = 0) -> list[Value]:
    return [select(builder, source, dim, index) for index in range(source.wide[dim])]


def unfold(builder: Builder, source: Value, dimension: int, size: int, step: int) -> Value:
    """Windows of ``size`` values, ``step`` apart, along a new last axis."""
    axis = dimension % len(source.wide)
    count = (source.wide[axis] - size) // step + 1
    taken = [
        part_of(builder, source, axis, offset, count, step)
        if count > 1
        else part_of(builder, source, axis, offset, 1)
        for offset in range(size)
    ]
    return stack(builder, taken, -1)


def pad(
    builder: Builder,
    source: Value,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Value:
    """Zeros, or less than there was; ``pad`` lists (before, after) of the last axis first."""
    if mode != "constant" or value:
        raise Unfit("it pads with something else than zeros", "Pad with zeros.")
    result, rank = source, len(source.wide)
    for index in range(0, len(pad), 2):
        axis, before, after = rank - 1 - index // 2, pad[index], pad[index + 1]
        kept = result.wide[axis] + min(before, 0) + min(after, 0)
        result = part_of(builder, result, axis, max(-before, 0), kept)
        if before > 0 or after > 0:
            result = _padded(builder, result, axis, max(before, 0), max(after, 0))
    return result


def _padded(builder: Builder, source: Value, axis: int, before: int, after: int) -> Value:
    """Channels go last first, as the convolution behind it wants them and takes over the zeros."""
    value, rank = builder.solid(source), len(source.wide)
    shape = list(value.shape)
    shape[axis] += before + after
    order = CHANNELS_LAST if rank == 4 else (0, 2, 1) if rank == 3 else value.order
    value = builder.ordered(value, [one for one in order if value.shape[one] > 1])
    held = value.axes()
    if value.shape[axis] > 1 and held is not None and [axis] in held:
        place, tensor = held.index([axis]), value.tensor
    else:
        groups, place = around([one for one in order if shape[one] > 1], axis)
        tensor = builder.packaged(value, groups)
    order = completed([one for one in order if shape[one] > 1], rank)
    one, two, three = (before * (place == axis_) for axis_ in (1, 2, 3))
    four, five, six = (after * (place == axis_) for axis_ in (1, 2, 3))
    padded = builder.pad(tensor, (0, one, two, three), (0, four, five, six))
    return laid_out(padded, shape, order)


def same(builder: Builder, source: Value, *_: object, **__: object) -> Value:
    """What changes no value: copies and casts to float32."""
    return source


def dropout(builder: Builder, source: Value, p: float, train: bool) -> Value:
    if train and p > 0.0:
        raise Unfit("it is random", "Switch it off in evaluation mode, as nn.Dropout does.")
    return source


def view_as(builder: Builder, source: Value, other: Entry) -> Value:
    shape = other.wide if isinstance(other, Value) else torch.as_tensor(other).shape
    return reshape(builder, source, shape)


def pad_constant(builder: Builder, source: Value, pad_: Sequence[int], value: float = 0.0) -> Value:
    return pad(builder, source, pad_, value=value)
