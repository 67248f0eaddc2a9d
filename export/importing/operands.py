"""Values and constants side by side: broadcasting, and the layout in which both are seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from export.importing.builder import Array, Builder, Kind
from export.importing.layout import AXES, Value, around, completed, laid_out, preferred
from export.importing.refusals import Unfit
from export.step_graph import Operand, Tensor

Entry = Value | torch.Tensor | float
"""What an operator of torch is given: something computed, a constant tensor or a number."""


def fixed(entry: Entry) -> torch.Tensor:
    """A weight. Raises Unfit where it is computed."""
    if isinstance(entry, Value):
        raise Unfit("its weights are computed", "Use fixed weights: Linear or a convolution.")
    return torch.as_tensor(entry)


def array_of(entry: torch.Tensor | float) -> Array:
    """A constant in float32."""
    if not isinstance(entry, torch.Tensor):
        return np.asarray(entry, np.float32)
    values: Array = entry.detach().cpu().to(torch.float32).numpy()
    return values


def shape_of(entry: Entry) -> tuple[int, ...]:
    """The shape as stored: expanded axes have size 1."""
    return entry.shape if isinstance(entry, Value) else tuple(array_of(entry).shape)


def wide_of(entry: Entry) -> tuple[int, ...]:
    return entry.wide if isinstance(entry, Value) else tuple(array_of(entry).shape)


def combined(builder: Builder, kind: Kind, left: Entry, right: Entry) -> Value:
    """Sum, difference or product with torch's broadcasting; one of the two is computed."""
    wide = tuple(np.broadcast_shapes(wide_of(left), wide_of(right)))
    rank = len(wide)
    lead = _lead(left, right).raised(rank)
    shape = tuple(np.broadcast_shapes(shape_of(left), shape_of(right)))
    shape = (1,) * (rank - len(shape)) + shape
    filled = [axis for axis in lead.order if shape[axis] > 1]
    parts = [_raised(entry, rank) for entry in (left, right)]
    groups = _groups(filled, lead, parts, shape)
    first, second = (_packaged(builder, part, groups) for part in parts)
    tensor = builder.elementwise(kind, first, second)
    return Value(tensor, shape, completed(filled, rank), wide)


def _lead(left: Entry, right: Entry) -> Value:
    """The operand whose layout the result takes: the larger one; of two, one with its channels
    last."""
    found = [entry for entry in (left, right) if isinstance(entry, Value)]
    return max(found, key=lambda value: (_count(value), _usual(value)))


def _count(value: Value) -> int:
    return int(np.prod(value.shape))


def _usual(value: Value) -> bool:
    """Whether it lies as convolutions take it."""
    order = preferred(len(value.shape))
    return value.filled == tuple(axis for axis in order if value.shape[axis] > 1)


def _raised(entry: Entry, rank: int) -> Value | Array:
    if isinstance(entry, Value):
        return entry.raised(rank)
    values = array_of(entry)
    raised: Array = values.reshape((1,) * (rank - values.ndim) + values.shape)
    return raised


def _groups(
    filled: Sequence[int],
    lead: Value,
    parts: Sequence[Value | Array],
    shape: tuple[int, ...],
) -> list[list[int]]:
    """Axes together that both operands have or that the same one lacks."""

    def status(axis: int) -> tuple[bool, ...]:
        return tuple(part.shape[axis] > 1 for part in parts)

    held = lead.axes()
    if (
        held is not None
        and lead.shape == shape
        and all(len({status(axis) for axis in group}) <= 1 for group in held)
    ):
        return held[1:]
    groups: list[list[int]] = []
    for axis in filled:
        if groups and status(groups[-1][-1]) == status(axis):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if len(groups) > AXES:
        raise Unfit(
            "its operands are broadcast along too many axes", "Broadcast one axis at a time."
        )
    return groups


def _packaged(builder: Builder, part: Value | Array, groups: Sequence[Sequence[int]]) -> Operand:
    if isinstance(part, Value):
        return builder.packaged(part.expanded(part.shape), groups)
    order = [axis for group in groups for axis in group]
    rest = [axis for axis in range(part.ndim) if axis not in order]
    sizes = [int(np.prod([part.shape[axis] for axis in group], dtype=int)) for group in groups]
    turned = part.transpose(*rest, *order)
    return builder.constant(turned.reshape(*(1,) * (AXES + 1 - len(sizes)), *sizes))


def joined(builder: Builder, entries: Sequence[Value], axis: int) -> Value:
    """Concatenation along one of torch's axes."""
    rank = len(entries[0].wide)
    solid = [builder.solid(entry) for entry in entries]
    lead = max(solid, key=lambda value: (len(value.filled), _usual(value), _count(value)))
    sizes = [value.shape[axis] for value in solid]
    shape = (*lead.shape[:axis], sum(sizes), *lead.shape[axis + 1 :])
    order = lead.order
    if lead.shape[axis] == 1:  # its place in memory is free
        order = completed(lead.filled, rank)
    filled = [one for one in order if shape[one] > 1]
    held, place = lead.axes(), 0
    groups: list[list[int]] | None = None
    if held is not None and lead.shape[axis] > 1:
        place = next(index for index, group in enumerate(held) if axis in group)
        groups = held[1:] if held[place][0] == axis else None
    if groups is None:
        groups, place = around(filled, axis)
    tensors = [builder.packaged(value, groups) for value in solid]
    return laid_out(builder.concat(tensors, place), shape, completed(filled, rank))


def part_of(
    builder: Builder, value: Value, axis: int, begin: int, size: int, stride: int = 1
) -> Value:
    """``size`` values from ``begin`` on along one of torch's axes, every ``stride``-th."""
    shape = (*value.shape[:axis], size, *value.shape[axis + 1 :])
    wide = (*value.wide[:axis], size, *value.wide[axis + 1 :])
    if value.shape[axis] == 1:
        return value.expanded(wide)
    if size == value.shape[axis]:
        return value
    tensor = _sliced(builder, value, axis, (begin, size, stride))
    return Value(tensor, shape, value.order, wide)


def _sliced(builder: Builder, value: Value, axis: int, taken: tuple[int, int, int]) -> Tensor:
    begin, size, stride = taken
    held = value.axes()
    if held is not None:
        place = next(index for index, group in enumerate(held) if axis in group)
        inner = value.tensor.shape[place] // value.shape[axis]
        if held[place][0] == axis and (stride == 1 or inner == 1):
            return builder.slice(value.tensor, place, begin * inner, size * inner, stride)
    groups, place = around(value.filled, axis)
    tensor = builder.packaged(value.expanded(value.shape), groups)
    return builder.slice(tensor, place, begin, size, stride)
