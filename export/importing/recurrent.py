"""GRU and LSTM written out: one 1×1 convolution per matrix, one cell per entry of a sequence.

Torch's equations (torch.nn.GRU and torch.nn.LSTM). Over time a sequence has one entry; over
frequency it has one for each band, and the cells stand one behind another in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from export.importing.builder import Array, Builder
from export.importing.convolution import pointwise
from export.importing.layout import Value, laid_out
from export.importing.operands import Entry, array_of, fixed, joined, part_of
from export.importing.refusals import Unfit
from export.step_graph import Constant, Operand, Tensor

SEQUENCE = (0, 1, 2)  # length, batch, features


@dataclass(frozen=True)
class Cell:
    """One direction of one layer. Rows of the weights are gates, one behind another."""

    input_weight: Array
    state_weight: Array
    input_bias: Array
    state_bias: Array

    @property
    def hidden(self) -> int:
        return int(self.state_weight.shape[1])

    def gate(self, index: int) -> Cell:
        rows = slice(index * self.hidden, (index + 1) * self.hidden)
        return Cell(
            self.input_weight[rows],
            self.state_weight[rows],
            self.input_bias[rows],
            self.state_bias[rows],
        )


Stepped = Callable[[Builder, Cell, Sequence[Tensor], Sequence[Operand]], tuple[Tensor, ...]]
"""One cell: the driven gates and the states in, the new states out, the hidden one first."""


@dataclass(frozen=True)
class Kind:
    """``fused``: a gate whose two biases may be added beforehand."""

    gates: tuple[str, ...]
    fused: tuple[bool, ...]
    states: int
    step: Stepped


def _gru(
    builder: Builder, cell: Cell, driven: Sequence[Tensor], states: Sequence[Operand]
) -> tuple[Tensor, ...]:
    """r = σ(a_r + U_r h), z = σ(a_z + U_z h), n = tanh(a_n + r ⊙ (U_n h + b)),
    h' = z ⊙ h + (1 − z) ⊙ n

    The sum of two products of values within ±1 takes finer integers than n + z ⊙ (h − n), whose
    difference has twice the range."""
    (past,) = states
    reset, update = (
        builder.activation(
            "logistic",
            _sum(builder, driven[index], _recalled(builder, cell, index, past, name), name),
            name,
        )
        for index, name in enumerate(("reset", "update"))
    )
    recalled = _recalled(builder, cell, 2, past, "new")
    kept = recalled if _is_zero(recalled) else builder.elementwise("mul", reset, recalled, "kept")
    candidate = builder.activation("tanh", _sum(builder, driven[2], kept, "new"), "new")
    if _is_zero(past):
        carried = builder.elementwise("mul", update, candidate, "carried")
        return (builder.elementwise("sub", candidate, carried, "hidden"),)
    ones = builder.constant(np.ones(update.shape, np.float32), "one")
    rest = builder.elementwise("sub", ones, update, "rest")
    carried = builder.elementwise("mul", update, past, "carried")
    taken = builder.elementwise("mul", rest, candidate, "taken")
    builder.bounded |= {carried.name, taken.name}
    return (builder.elementwise("add", carried, taken, "hidden"),)


def _lstm(
    builder: Builder, cell: Cell, driven: Sequence[Tensor], states: Sequence[Operand]
) -> tuple[Tensor, ...]:
    """c' = σ(a_f + U_f h) ⊙ c + σ(a_i + U_i h) ⊙ tanh(a_g + U_g h),
    h' = σ(a_o + U_o h) ⊙ tanh c'"""
    past, memory = states
    gates = []
    for index, name in enumerate(_LSTM_GATES):
        recalled = _recalled(builder, cell, index, past, name)
        total = _sum(builder, driven[index], recalled, name)
        gates.append(builder.activation("tanh" if name == "new" else "logistic", total, name))
    entry, forget, candidate, exit_ = gates
    written = builder.elementwise("mul", entry, candidate, "written")
    if not _is_zero(memory):
        kept = builder.elementwise("mul", forget, memory, "kept")
        written = builder.elementwise("add", kept, written, "memory")
    shown = builder.activation("tanh", written, "shown")
    return builder.elementwise("mul", exit_, shown, "hidden"), written


def _elman(
    builder: Builder, cell: Cell, driven: Sequence[Tensor], states: Sequence[Operand]
) -> tuple[Tensor, ...]:
    """h' = tanh(a + U h)"""
    total = _sum(builder, driven[0], _recalled(builder, cell, 0, states[0], "new"), "new")
    return (builder.activation("tanh", total, "hidden"),)


_LSTM_GATES = ("entry", "forget", "new", "exit")
GRU = Kind(("reset", "update", "new"), (True, True, False), 1, _gru)
LSTM = Kind(_LSTM_GATES, (True,) * 4, 2, _lstm)
ELMAN = Kind(("new",), (True,), 1, _elman)


def _recalled(builder: Builder, cell: Cell, index: int, past: Operand, name: str) -> Operand:
    """The recurrent product of a gate; of a constant state it is a constant too."""
    gate = cell.gate(index)
    if isinstance(past, Constant):
        product = past.values @ gate.state_weight.T + gate.state_bias
        return builder.constant(product, f"{name}/state")
    return pointwise(builder, past, gate.state_weight, gate.state_bias, f"{name}/state")


def _sum(builder: Builder, driven: Tensor, recalled: Operand, name: str) -> Tensor:
    if _is_zero(recalled):
        return driven
    return builder.elementwise("add", driven, recalled, f"{name}/sum")


def _is_zero(operand: Operand) -> bool:
    return isinstance(operand, Constant) and not operand.values.any()


def gru(
    builder: Builder,
    source: Value,
    state: Entry,
    weights: Sequence[Entry],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    shape = (has_biases, num_layers, bidirectional)
    return _layers(builder, GRU, source, [state], weights, shape, batch_first)


def lstm(
    builder: Builder,
    source: Value,
    states: Sequence[Entry],
    weights: Sequence[Entry],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    shape = (has_biases, num_layers, bidirectional)
    return _layers(builder, LSTM, source, states, weights, shape, batch_first)


def rnn_tanh(
    builder: Builder,
    source: Value,
    state: Entry,
    weights: Sequence[Entry],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    shape = (has_biases, num_layers, bidirectional)
    return _layers(builder, ELMAN, source, [state], weights, shape, batch_first)


def gru_cell(builder: Builder, source: Value, state: Entry, *weights: Entry) -> Value:
    return _cell(builder, GRU, source, [state], weights)[0]


def rnn_tanh_cell(builder: Builder, source: Value, state: Entry, *weights: Entry) -> Value:
    return _cell(builder, ELMAN, source, [state], weights)[0]


def lstm_cell(
    builder: Builder, source: Value, states: Sequence[Entry], *weights: Entry
) -> tuple[Value, ...]:
    return _cell(builder, LSTM, source, states, weights)


def _cell(
    builder: Builder, kind: Kind, source: Value, states: Sequence[Entry], weights: Sequence[Entry]
) -> tuple[Value, ...]:
    """A sequence of one entry; ``source`` is ``[batch, features]``."""
    biased = len(weights) == 4 and weights[2] is not None
    chosen = weights if biased else weights[:2]
    raised = [
        entry.unsqueezed(0) if isinstance(entry, Value) else torch.as_tensor(entry).unsqueeze(0)
        for entry in states
    ]
    entry = source.unsqueezed(0)
    _, *after = _layers(builder, kind, entry, raised, chosen, (biased, 1, False), False)
    return tuple(value.squeezed(0) for value in after)


def _layers(
    builder: Builder,
    kind: Kind,
    source: Value,
    states: Sequence[Entry],
    weights: Sequence[Entry],
    form: tuple[bool, int, bool],
    batch_first: bool,
) -> tuple[Value, ...]:
    """Sequence and last states ``[layers · directions, batch, hidden]``, as torch returns them."""
    biased, layers, both = form
    directions = 2 if both else 1
    cells = _cells(weights, biased, len(kind.gates))
    if len(cells) != layers * directions:
        raise Unfit("it projects its hidden state (proj_size)", "Put a Linear layer behind it.")
    scope, value = builder.scope, builder.solid(source)
    value = value.permuted((1, 0, 2)) if batch_first else value
    last: list[list[Value]] = [[] for _ in states]
    for layer in range(layers):
        passes = []
        for direction in range(directions):
            index = layer * directions + direction
            parts = [f"layer{layer}"] * (layers > 1) + ["backward"] * direction
            builder.scope = "/".join([scope, *parts])
            before = [_initial(builder, state, index) for state in states]
            along = range(value.shape[0])
            order = along[::-1] if direction else along
            series, after = _direction(builder, kind, cells[index], value, before, order)
            passes.append(series)
            for kept, tensor in zip(last, after, strict=True):
                kept.append(laid_out(tensor, (1, value.shape[1], cells[index].hidden), SEQUENCE))
        builder.scope = scope
        value = passes[0] if directions == 1 else joined(builder, passes, 2)
    value = value.permuted((1, 0, 2)) if batch_first else value
    return value, *(joined(builder, kept, 0) if len(kept) > 1 else kept[0] for kept in last)


def _cells(weights: Sequence[Entry], biased: bool, gates: int) -> list[Cell]:
    count = 4 if biased else 2
    found = []
    for start in range(0, len(weights), count):
        arrays = [array_of(fixed(entry)) for entry in weights[start : start + count]]
        if not biased:
            arrays += [np.zeros(len(arrays[0]), np.float32)] * 2
        if len(arrays) != 4 or len(arrays[1]) != gates * arrays[1].shape[1]:
            raise Unfit("it projects its hidden state (proj_size)", "Put a Linear behind it.")
        found.append(Cell(*arrays))
    return found


def _initial(builder: Builder, state: Entry, index: int) -> Operand:
    """The state ``[1, 1, batch, hidden]`` of one layer and direction."""
    if isinstance(state, Value):
        mine = part_of(builder, state, 0, index, 1)
        return builder.packaged(mine, [[1], [2]])
    values = array_of(state)[index]
    return builder.constant(values[None, None], "initial")


def _direction(
    builder: Builder,
    kind: Kind,
    cell: Cell,
    source: Value,
    states: Sequence[Operand],
    order: Sequence[int],
) -> tuple[Value, list[Tensor]]:
    """All entries of a sequence ``[length, batch, features]``, taken in ``order``.

    The products with the input do not wait for each other: there is one per gate.
    """
    length, batch, _ = source.shape
    entry = builder.packaged(source, [[0], [1], [2]])
    driven = []
    folded = []
    for index, name in enumerate(kind.gates):
        gate = cell.gate(index)
        fused = kind.fused[index]
        bias = gate.input_bias + gate.state_bias if fused else gate.input_bias
        driven.append(pointwise(builder, entry, gate.input_weight, bias, f"{name}/input"))
        folded.append(np.zeros_like(gate.state_bias) if fused else gate.state_bias)
    cell = Cell(cell.input_weight, cell.state_weight, cell.input_bias, np.concatenate(folded))
    scope, carried = builder.scope, list(states)
    shown: dict[int, Tensor] = {}
    for place in order:
        builder.scope = f"{scope}/{place}" if length > 1 else scope
        mine = [builder.slice(gate, 1, place, 1) for gate in driven]
        after = kind.step(builder, cell, mine, carried)
        shown[place] = after[0]
        builder.bounded.add(after[0].name)
        carried = list(after)
    builder.scope = scope
    series = builder.concat([shown[place] for place in range(length)], 1, "sequence")
    value = laid_out(series, (length, batch, cell.hidden), SEQUENCE)
    return value, [one for one in carried if isinstance(one, Tensor)]
