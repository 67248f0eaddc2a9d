"""Collects the operators of a step graph, and moves values where a layout asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

import numpy as np
import numpy.typing as npt

from export.importing.layout import (
    AXES,
    Groups,
    Value,
    completed,
    laid_out,
    packed,
    runs,
)
from export.importing.refusals import Unfit
from export.step_graph import (
    Activation,
    Concat,
    Constant,
    Elementwise,
    Mean,
    Operand,
    Operator,
    Pad,
    Reshape,
    Shape,
    Slice,
    Tensor,
    Transpose,
)

Kind = Literal["add", "sub", "mul"]
Function = Literal["logistic", "tanh", "relu", "leaky_relu"]
MOST_JOINED = 10  # what TFLM's concatenation takes

Array = npt.NDArray[np.float32]


@dataclass
class Builder:
    """Operators in execution order. ``scope`` is what the next tensors are called after."""

    operators: list[Operator] = field(default_factory=list)
    bounded: set[str] = field(default_factory=set)
    scope: str = "step"
    taken: set[str] = field(default_factory=set)
    made_by: dict[str, Operator] = field(default_factory=dict)
    moved: dict[tuple[str, Shape, Shape], Tensor] = field(default_factory=dict)

    def name(self, part: str = "") -> str:
        """A new name under the scope; repeated ones are numbered."""
        wanted = f"{self.scope}/{part}" if part else self.scope
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}.{count}"
        self.taken.add(name)
        return name

    def add(self, operator: Operator) -> Tensor:
        self.operators.append(operator)
        self.made_by[operator.output.name] = operator
        return operator.output

    def constant(self, values: Array, part: str = "constant") -> Constant:
        """A fixed operand; ``values`` have four axes."""
        return Constant(self.name(part), np.ascontiguousarray(values, np.float32))

    def scalar(self, value: float) -> Constant:
        return self.constant(np.full((1, 1, 1, 1), value, np.float32))

    def activation(
        self, kind: Function, source: Tensor, part: str = "", slope: float = 0.0
    ) -> Tensor:
        return self.add(Activation(kind, Tensor(self.name(part), source.shape), source, slope))

    def elementwise(self, kind: Kind, left: Operand, right: Operand, part: str = "") -> Tensor:
        sizes = (max(pair) for pair in zip(left.shape, right.shape, strict=True))
        first, time, frequency, channels = sizes
        output = Tensor(self.name(part), (first, time, frequency, channels))
        return self.add(Elementwise(kind, output, left, right))

    def concat(self, sources: Sequence[Tensor], axis: int, part: str = "") -> Tensor:
        """Of any number: more than TFLM takes at once are joined in groups first."""
        while len(sources) > MOST_JOINED:
            starts = range(0, len(sources), MOST_JOINED)
            sources = [
                self.concat(sources[start : start + MOST_JOINED], axis, "joined")
                for start in starts
            ]
        if len(sources) == 1:
            return sources[0]
        shape = list(sources[0].shape)
        shape[axis] = sum(source.shape[axis] for source in sources)
        output = Tensor(self.name(part), _shape(shape))
        return self.add(Concat(output, tuple(sources), axis))

    def mean(self, source: Tensor, axes: Sequence[int]) -> Tensor:
        shape = [1 if axis in axes else size for axis, size in enumerate(source.shape)]
        return self.add(Mean(Tensor(self.name(), _shape(shape)), source, tuple(axes)))

    def pad(self, source: Tensor, before: Shape, after: Shape) -> Tensor:
        if not any(before) and not any(after):
            return source
        sizes = zip(before, source.shape, after, strict=True)
        output = Tensor(self.name("padded"), _shape([sum(three) for three in sizes]))
        return self.add(Pad(output, source, before, after))

    def slice(
        self, source: Tensor, axis: int, begin: int, size: int, stride: int = 1, part: str = ""
    ) -> Tensor:
        """``size`` values along one axis; those of one part of a concatenation are that part."""
        if size == source.shape[axis]:
            return source
        made = self.made_by.get(source.name)
        if isinstance(made, Concat) and made.axis == axis and stride == 1:
            start = 0
            for one in made.inputs:
                if start == begin and one.shape[axis] == size:
                    return one
                start += one.shape[axis]
        shape, begins, strides = list(source.shape), [0] * 4, [1] * 4
        shape[axis], begins[axis], strides[axis] = size, begin, stride
        output = Tensor(self.name(part or "part"), _shape(shape))
        return self.add(Slice(output, source, _shape(begins), _shape(strides)))

    def reshape(self, source: Tensor, shape: Shape, part: str = "shaped") -> Tensor:
        """The same values under another shape; of reshapes in a row the last one counts."""
        made = self.made_by.get(source.name)
        while isinstance(made, Reshape):
            source = made.input
            made = self.made_by.get(source.name)
        if source.shape == shape:
            return source
        key = (source.name, shape, (-1, -1, -1, -1))
        if key not in self.moved:
            output = Tensor(self.name(part), shape)
            self.moved[key] = self.add(Reshape(output, source))
        return self.moved[key]

    def transpose(self, source: Tensor, order: Shape) -> Tensor:
        key = (source.name, source.shape, order)
        if key not in self.moved:
            shape = _shape([source.shape[axis] for axis in order])
            output = Tensor(self.name("turned"), shape)
            self.moved[key] = self.add(Transpose(output, source, order))
        return self.moved[key]

    def packaged(self, value: Value, groups: Groups) -> Tensor:
        """A tensor whose last axes hold these groups of torch's axes, each axis in one group."""
        value = self.solid(value)
        shape = packed(groups, value.shape)
        wanted = [axis for group in groups for axis in group if value.shape[axis] > 1]
        if list(value.filled) == wanted:
            return self.reshape(value.tensor, shape)
        return self._reordered(value, wanted, shape)

    def ordered(self, value: Value, filled: Sequence[int]) -> Value:
        """The value with its axes longer than 1 in this order of memory."""
        value = self.solid(value)
        if value.filled == tuple(filled):
            return value
        pieces = _pieces(filled, value.filled)
        tensor = self.packaged(value, pieces)
        return laid_out(tensor, value.shape, completed(filled, len(value.shape)))

    def _reordered(self, value: Value, wanted: Sequence[int], shape: Shape) -> Tensor:
        held = value.axes()
        if held is not None:
            for order in permutations(range(1, AXES + 1)):
                turned = [axis for place in order for axis in held[place]]
                sizes = tuple(value.tensor.shape[place] for place in order)
                if turned == list(wanted) and sizes == shape[1:]:
                    first, second, third = order
                    return self.transpose(value.tensor, (0, first, second, third))
        pieces = runs(value.filled, list(wanted))
        source = self.reshape(value.tensor, packed(pieces, value.shape))
        skipped = AXES - len(pieces)
        ranked = sorted(range(len(pieces)), key=lambda index: wanted.index(pieces[index][0]))
        places = [*range(skipped), *(skipped + index for index in ranked)]
        one, two, three = (1 + place for place in places)
        return self.reshape(self.transpose(source, (0, one, two, three)), shape)

    def solid(self, value: Value) -> Value:
        """With the copies along expanded axes made."""
        for axis, (size, wide) in enumerate(zip(value.shape, value.wide, strict=True)):
            if size == wide:
                continue
            if size != 1:
                raise Unfit("it expands an axis that is not of size 1", "Use torch.cat instead.")
            outer = [one for one in value.order[: value.order.index(axis)] if value.shape[one] > 1]
            inner = [one for one in value.filled if one not in outer]
            tensor = self.packaged(_shrunk(value), [outer, inner])
            copies = self.concat([tensor] * wide, 3, "copies")
            shape = (*value.shape[:axis], wide, *value.shape[axis + 1 :])
            value = Value(copies, shape, value.order, value.wide)
        return value

    def copy(self, source: Tensor, name: str) -> Tensor:
        """The same values under another name, for an output that would else be something else."""
        return self.add(Reshape(Tensor(name, source.shape), source))


def _shrunk(value: Value) -> Value:
    return value.expanded(value.shape)


def _pieces(filled: Sequence[int], current: Sequence[int]) -> list[list[int]]:
    """``filled`` in at most three groups; axes that were neighbours stay in one."""
    pieces = runs(list(filled), list(current))
    while len(pieces) > AXES:
        pieces[0:2] = [pieces[0] + pieces[1]]
    return pieces


def _shape(sizes: Sequence[int]) -> Shape:
    first, time, frequency, channels = sizes
    return first, time, frequency, channels
