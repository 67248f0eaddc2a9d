"""A model as a list of calls and copies and the buffers they use: what is planned and printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from export.c.call import Call, Copies, Copy, Refused
from export.c.model import CModel, COperator, CState, CTensor
from export.c.operators.table import lower
from export.c.problem import Buffer, Problem, Role, Step

IO_TYPES = ("int8", "int16", "float32")
MOST_ACTIVATIONS = 1 << 28  # bytes, none sharing memory
MOST_CONSTANTS = 1 << 24  # bytes; their text is some four times as long
MOST_OPERATORS = 4096


@dataclass(frozen=True, eq=False)
class Action:
    """One step of the program. ``scratch`` is the buffer of a call that needs one."""

    operator: COperator | None  # None where no operator of the file stands for it
    work: Call | Copies
    scratch: int | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """Actions in order. Buffer k is tensor k of the model, further ones are scratch and copies.

    ``outputs`` and the second of ``states`` are written by an action, never inputs or constants.
    """

    model: CModel
    actions: tuple[Action, ...]
    problem: Problem
    outputs: tuple[int, ...]
    states: tuple[tuple[CState, int], ...]
    tensors: dict[int, CTensor]  # buffer → the tensor whose shape and type it has


def program_of(model: CModel) -> Program:
    """Lower every operator that an output depends on. Raises Refused."""
    _check_size(model)
    _check_ports(model)
    building = _Building(model)
    for operator in _needed(model):
        building.add(operator)
    outputs = tuple(building.port(index) for index in model.outputs)
    states = tuple((state, building.port(state.output)) for state in model.states)
    return building.program(outputs, states)


def _check_ports(model: CModel) -> None:
    held = [index for state in model.states for index in (state.input, state.output)]
    for index in (*model.inputs, *model.outputs, *held):
        tensor = model.tensors[index]
        if tensor.dtype not in IO_TYPES:
            raise Refused(
                f"The model's tensor {tensor.name!r} is of type {tensor.dtype}.",
                hint="Inputs, outputs and states are int8, int16 or float32.",
            )
        if len(tensor.scales) > 1:
            raise Refused(f"The model's tensor {tensor.name!r} has several scales.", hint="")


def _check_size(model: CModel) -> None:
    activations = sum(tensor.nbytes for tensor in model.tensors if not tensor.constant)
    constants = sum(tensor.nbytes for tensor in model.tensors if tensor.constant)
    for found, limit, what in (
        (activations, MOST_ACTIVATIONS, "bytes of activations"),
        (constants, MOST_CONSTANTS, "bytes of constants"),
        (len(model.operators), MOST_OPERATORS, "operators"),
    ):
        if found > limit:
            raise Refused(
                f"The model has {found:,} {what}, and C is written for {limit:,} at most.",
                hint="Plain C is for models that fit a microcontroller.",
            )


def _needed(model: CModel) -> list[COperator]:
    """Operators whose results reach an output, in the file's order."""
    wanted = {*model.outputs, *(state.output for state in model.states)}
    kept = []
    for operator in reversed(model.operators):
        if not wanted.isdisjoint(operator.outputs):
            kept.append(operator)
            wanted.update(operator.inputs)
    return kept[::-1]


@dataclass
class _Building:
    model: CModel
    actions: list[Action] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    extra: list[Buffer] = field(default_factory=list)
    alike: dict[int, int] = field(default_factory=dict)  # extra buffer → tensor it is a copy of

    def add(self, operator: COperator) -> None:
        lowered = lower(self.model, operator)
        for work in lowered if isinstance(lowered, tuple) else (lowered,):
            if isinstance(work, Copies):
                self._copy(operator, work)
            else:
                self._call(operator, work)

    def port(self, index: int) -> int:
        """The buffer of an output or of a state's new value: a copy where the tensor is an
        input."""
        given = (*self.model.inputs, *(state.input for state in self.model.states))
        tensor = self.model.tensors[index]
        if index in given:
            index = self._buffer(tensor.nbytes)
            self.alike[index] = tensor.index
            self._copy(None, Copies((Copy(tensor.index, index, tensor.nbytes),)))
        return index

    def program(self, outputs: tuple[int, ...], states: tuple[tuple[CState, int], ...]) -> Program:
        roles: dict[int, Role] = dict.fromkeys(outputs, "output")
        roles.update((index, "input") for index in self.model.inputs)
        own = [
            Buffer(
                tensor.nbytes, "constant" if tensor.constant else roles.get(tensor.index, "memory")
            )
            for tensor in self.model.tensors
        ]
        first = len(own)
        extra = [
            Buffer(buffer.size, roles.get(first + number, "memory"))
            for number, buffer in enumerate(self.extra)
        ]
        pairs = tuple((state.input, after) for state, after in states)
        tensors = {tensor.index: tensor for tensor in self.model.tensors}
        tensors.update((copy, self.model.tensors[index]) for copy, index in self.alike.items())
        return Program(
            self.model,
            tuple(self.actions),
            Problem((*own, *extra), tuple(self.steps), pairs),
            outputs,
            states,
            tensors,
        )

    def _buffer(self, size: int) -> int:
        self.extra.append(Buffer(size))
        return len(self.model.tensors) + len(self.extra) - 1

    def _copy(self, operator: COperator | None, work: Copies) -> None:
        self.actions.append(Action(operator, work))
        sources = tuple(dict.fromkeys(copy.source for copy in work.copies))
        targets = tuple(dict.fromkeys(copy.destination for copy in work.copies))
        self.steps.append(Step(sources, targets, work.copies))

    def _call(self, operator: COperator, call: Call) -> None:
        scratch = self._buffer(call.scratch) if call.scratch else None
        self.actions.append(Action(operator, call, scratch))
        writes = (*call.outputs, *([] if scratch is None else [scratch]))
        self.steps.append(Step(call.inputs, writes, in_place=frozenset(self._in_place(call))))

    def _in_place(self, call: Call) -> Iterable[tuple[int, int]]:
        """Pairs of tensors of one type. One that is also read at a position where the output may
        not lie does not count."""
        output = self.model.tensors[call.outputs[0]]
        for position in call.in_place:
            index = call.inputs[position]
            everywhere = {place for place, other in enumerate(call.inputs) if other == index}
            alike = self.model.tensors[index].dtype == output.dtype
            if everywhere <= set(call.in_place) and alike:
                yield index, output.index
