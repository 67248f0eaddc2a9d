"""A foreign student as a step graph: how its inputs, outputs and states are laid out in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor as TorchTensor
from torch import nn

from export.importing.builder import Builder
from export.importing.layout import CHANNELS_LAST, Value, laid_out, packed
from export.importing.program import Program, exported
from export.importing.renaming import renamed
from export.importing.simplify import needed, simplified
from export.importing.student import states_of
from export.importing.translation import translated
from export.step_graph import Operator, Shape, State, StepGraph, Tensor, Transpose
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StateLayout:
    """A state of ``shape`` in torch lies in the graph with its axes in ``order``."""

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def stored(self) -> Shape:
        """The shape in the graph."""
        sizes = [size for size in self._turned if size > 1]
        if len(self.shape) == 4 and self._turned[0] == 1:
            first, time, frequency, channels = self._turned
            return first, time, frequency, channels
        while len(sizes) > 3:
            sizes[0:2] = [sizes[0] * sizes[1]]
        return packed([[k] for k in range(len(sizes))], sizes)

    @property
    def _turned(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.order)

    def into_graph(self, state: TorchTensor) -> TorchTensor:
        """Torch's state as the graph stores it."""
        return state.permute(self.order).reshape(self.stored)

    def from_graph(self, stored: TorchTensor) -> TorchTensor:
        """What :meth:`into_graph` was given."""
        inverse = [self.order.index(axis) for axis in range(len(self.order))]
        return stored.reshape(self._turned).permute(inverse)


@dataclass(frozen=True)
class ImportedStep:
    """The graph of a student's step; ``layouts`` are those of its states, in order."""

    graph: StepGraph
    layouts: tuple[StateLayout, ...] = field(repr=False)


def import_student(student: nn.Module, bins: int) -> ImportedStep:
    """The step graph of a student of features ``[1, 3, 1, bins]``.

    A state's axes are laid out so that few values need to be moved. Raises Uncovered for an
    operator that the step graph cannot hold, InputError for a step that cannot be followed.
    """
    states = states_of(student)
    _check_weights(student)
    features = torch.zeros(1, FEATURE_CHANNELS, 1, bins)
    program = exported(student, features, list(states.values()))
    layouts = [
        StateLayout(name, tuple(value.shape), _orders(value.dim())[0])
        for name, value in states.items()
    ]
    best = _import(program, layouts, bins)
    for index, layout in enumerate(layouts):
        if sum(size > 1 for size in layout.shape) < 2:
            continue
        for order in _orders(len(layout.shape))[1:]:
            tried = list(best.layouts)
            tried[index] = StateLayout(layout.name, layout.shape, order)
            other = _import(program, tried, bins)
            if _cost(other.graph) < _cost(best.graph):
                best = other
    return best


def _orders(rank: int) -> list[tuple[int, ...]]:
    """How a state may lie: channels (torch's axis 1) last, or as in torch."""
    own = tuple(range(rank))
    last = (0, *range(2, rank), 1) if rank > 2 else own
    return list(dict.fromkeys((last, own)))


def _cost(graph: StepGraph) -> int:
    """How many values are moved out of their order."""
    return sum(prod(op.output.shape) for op in graph.operators if isinstance(op, Transpose))


def _import(program: Program, layouts: Sequence[StateLayout], bins: int) -> ImportedStep:
    builder = Builder()
    features = Tensor("features", (1, 1, bins, FEATURE_CHANNELS))
    pasts = [Tensor(f"{layout.name}_in", layout.stored) for layout in layouts]
    outputs = [Tensor(f"{layout.name}_out", layout.stored) for layout in layouts]
    builder.taken |= {"features", "mask", *(one.name for one in (*pasts, *outputs))}
    inputs = [laid_out(features, (1, FEATURE_CHANNELS, 1, bins), CHANNELS_LAST)]
    inputs += [
        laid_out(past, layout.shape, layout.order)
        for past, layout in zip(pasts, layouts, strict=True)
    ]
    mask, *following = _checked(translated(program, builder, inputs), layouts, bins)
    builder.scope = "mask"
    made = [builder.packaged(mask, [[0, 2], [3], [1]])]
    for value, layout in zip(following, layouts, strict=True):
        builder.scope = f"{layout.name}_out"
        made.append(_stored(builder, value, layout))
    wanted = [Tensor("mask", (1, 1, bins, mask.wide[1])), *outputs]
    operators, bounded = _named(builder, made, wanted, {"features", *(p.name for p in pasts)})
    states = tuple(
        State(layout.name, past, output)
        for layout, past, output in zip(layouts, pasts, outputs, strict=True)
    )
    bounded |= {state.input.name for state in states if state.output.name in bounded}
    graph = StepGraph(features, wanted[0], states, tuple(operators), frozenset(bounded))
    return ImportedStep(simplified(graph), tuple(layouts))


def _stored(builder: Builder, value: Value, layout: StateLayout) -> Tensor:
    filled = [axis for axis in layout.order if layout.shape[axis] > 1]
    tensor = builder.ordered(value, filled).tensor
    return builder.reshape(tensor, layout.stored)


def _named(
    builder: Builder, made: Sequence[Tensor], wanted: Sequence[Tensor], inputs: set[str]
) -> tuple[list[Operator], set[str]]:
    """Operators whose outputs have the names wanted; one that already is something else is
    copied."""
    taken, names = set(inputs), {}
    for tensor, output in zip(made, wanted, strict=True):
        if tensor.name in taken:
            builder.copy(tensor, output.name)
        else:
            taken.add(tensor.name)
            names[tensor.name] = output.name
    operators = renamed(builder.operators, names)
    bounded = {names.get(name, name) for name in builder.bounded}
    return needed(operators, [tensor.name for tensor in wanted]), bounded


def _checked(outputs: Sequence[object], layouts: Sequence[StateLayout], bins: int) -> list[Value]:
    """The outputs of a step, all computed and of the right shapes."""
    names = ["mask", *(f"state {layout.name!r}" for layout in layouts)]
    if len(outputs) != len(names):
        raise InputError(
            f"The step returns {len(outputs)} tensors for a mask and {len(layouts)} states.",
            hint="It should return the mask and every state, in order, in one flat tuple.",
        )
    values = []
    for name, output in zip(names, outputs, strict=True):
        if not isinstance(output, Value):
            raise InputError(
                f"The step returns the {name} without computing it from features and states.",
                hint="A constant needs no place among the outputs: leave it out.",
            )
        values.append(output)
    mask, *after = values
    if (*mask.wide[:1], *mask.wide[2:]) != (1, 1, bins):
        raise InputError(
            f"The step returns a mask {list(mask.wide)} for {bins} bins.",
            hint=f"It should be [1, 2, 1, {bins}], or [1, 1, 1, {bins}] for a real mask.",
        )
    for layout, value in zip(layouts, after, strict=True):
        if value.wide != layout.shape:
            raise InputError(
                f"The state {layout.name!r} is {list(layout.shape)} before a step and "
                f"{list(value.wide)} after it.",
                hint="A state keeps its shape: cut a history to its length.",
            )
    return values


def _check_weights(student: nn.Module) -> None:
    for name, value in student.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(
                f"The student's {name} holds NaN or infinity.",
                hint="Training diverged: go back to an earlier checkpoint or lower the rate.",
            )
