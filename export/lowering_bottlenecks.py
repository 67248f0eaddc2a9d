"""Bottlenecks as operators: the equations of :mod:`distill.bottlenecks`, one frame at a time."""

from __future__ import annotations

from typing import cast

import numpy as np
from torch import nn

from distill.bottlenecks import (
    Bottleneck,
    DualPathBlock,
    DualPathBottleneck,
    FullBand,
    GruBottleneck,
    TcnBlock,
    TcnBottleneck,
)
from distill.recurrence import MinGru
from export.lowering_builder import Builder, array_of, folded, linear, mixed, pointwise
from export.step_graph import Constant, State, Tensor
from targets.errors import InputError


def lower_bottleneck(builder: Builder, bottleneck: Bottleneck, source: Tensor) -> Tensor:
    """Frames ``[1, 1, bins, channels]`` in and out.

    Raises InputError for a bottleneck that needs what comes later.
    """
    match bottleneck:
        case GruBottleneck():
            return _lower_gru(builder, bottleneck, source)
        case TcnBottleneck():
            return _lower_tcn(builder, bottleneck, source)
        case DualPathBottleneck():
            for name, stage in bottleneck.stages.items():
                if isinstance(stage, FullBand):
                    source = _lower_full_band(builder, stage, source, name)
                else:
                    source = _lower_dual(builder, stage, source, name)
            return source
        case _:
            raise InputError(
                "The layer bottleneck (bigru) hears the whole recording and cannot stream.",
                hint="Export a student with `bottleneck: gru`, `tcn` or `dual`.",
            )


def _flat(builder: Builder, name: str, source: Tensor) -> Tensor:
    return builder.reshape(name, source, (1, 1, 1, source.shape[2] * source.shape[3]))


def _unfolded(builder: Builder, name: str, latent: Tensor, bottleneck: Bottleneck) -> Tensor:
    wide = linear(builder, f"{name}/expand", latent, bottleneck.expand)
    return builder.reshape(f"{name}/exit", wide, (1, 1, bottleneck.bins, bottleneck.channels))


def _lower_tcn(builder: Builder, bottleneck: TcnBottleneck, source: Tensor) -> Tensor:
    value = linear(builder, "tcn/enter", _flat(builder, "tcn/entry", source), bottleneck.enter)
    for index, module in enumerate(bottleneck.blocks):
        block = cast(TcnBlock, module)
        window = builder.window(f"tcn{index}", value, block.history)
        change = builder.dilated(f"tcn{index}/change", window, block)
        value = builder.elementwise("add", f"tcn{index}/sum", value, change)
    return _unfolded(builder, "tcn", value, bottleneck)


def _lower_gru(builder: Builder, bottleneck: GruBottleneck, source: Tensor) -> Tensor:
    entry = _flat(builder, "gru/entry", source)
    past = Tensor("gru_in", (1, 1, 1, bottleneck.hidden))
    ones = Constant("gru/one", np.ones(past.shape, np.float32))
    latent = _lower_cell(builder, bottleneck.gru, "gru", entry, past, ones)
    return _unfolded(builder, "gru", latent, bottleneck)


def _lower_dual(builder: Builder, block: DualPathBlock, source: Tensor, name: str) -> Tensor:
    """The bins stand along frequency, where 1×1 convolutions give them all the same weights."""
    heard = _lower_min_gru(builder, block.recurrence, name, source)
    change = linear(builder, f"{name}/leave", heard, block.leave)
    value = builder.elementwise("add", f"{name}/time", source, change)
    weight, bias = folded(block.enter, block.norm)
    entered = builder.conv(f"{name}/enter", value, weight, bias, activation="relu")
    across = mixed(builder, f"{name}/mix", entered, array_of(block.mix.weight))
    return builder.elementwise("add", f"{name}/frequency", value, across)


def _lower_full_band(builder: Builder, stage: FullBand, source: Tensor, name: str) -> Tensor:
    entry = _flat(builder, f"{name}/entry", source)
    heard = _lower_min_gru(builder, stage.recurrence, name, entry)
    wide = linear(builder, f"{name}/leave", heard, stage.leave)
    change = builder.reshape(f"{name}/exit", wide, source.shape)
    return builder.elementwise("add", f"{name}/sum", source, change)


def _lower_min_gru(builder: Builder, cell: MinGru, prefix: str, entry: Tensor) -> Tensor:
    """The equations of :mod:`distill.recurrence`, one 1×1 convolution per gate: each then has a
    scale of its own. The state is named ``prefix``."""
    past = Tensor(f"{prefix}_in", (1, 1, entry.shape[2], cell.hidden))
    weights = np.split(array_of(cell.gates.weight), 2)
    biases = np.split(array_of(cell.gates.bias), 2)

    def gate(name: str, row: int) -> Tensor:
        return builder.conv(f"{prefix}/{name}/sum", entry, pointwise(weights[row]), biases[row])

    update = builder.activation("logistic", f"{prefix}/update", gate("update", 0))
    candidate = builder.activation("tanh", f"{prefix}/new", gate("new", 1))
    # One value for all: generated C makes the difference a table.
    one = Constant(f"{prefix}/one", np.ones((1, 1, 1, 1), np.float32))
    rest = builder.elementwise("sub", f"{prefix}/rest", one, update)
    return _remembered(builder, prefix, (rest, past), (update, candidate))


def _lower_cell(
    builder: Builder, gru: nn.GRU, prefix: str, entry: Tensor, past: Tensor, ones: Constant
) -> Tensor:
    """The equations of :func:`gru_cell`, one 1×1 convolution per matrix.

    The state is named ``prefix``; ``ones`` broadcast to it.
    """
    weights = {name: np.split(array_of(value), 3) for name, value in gru.named_parameters()}
    from_input, from_state = weights["weight_ih_l0"], weights["weight_hh_l0"]
    input_bias, state_bias = weights["bias_ih_l0"], weights["bias_hh_l0"]

    def gate(name: str, row: int) -> Tensor:
        bias = input_bias[row] + state_bias[row]
        driven = builder.conv(f"{prefix}/{name}/input", entry, pointwise(from_input[row]), bias)
        recalled = builder.conv(
            f"{prefix}/{name}/state", past, pointwise(from_state[row]), np.zeros_like(bias)
        )
        total = builder.elementwise("add", f"{prefix}/{name}/sum", driven, recalled)
        return builder.activation("logistic", f"{prefix}/{name}", total)

    reset, update = gate("reset", 0), gate("update", 1)
    # Here the biases stay apart: the reset gate scales the recurrent one with its product.
    driven = builder.conv(f"{prefix}/new/input", entry, pointwise(from_input[2]), input_bias[2])
    recalled = builder.conv(f"{prefix}/new/state", past, pointwise(from_state[2]), state_bias[2])
    kept = builder.elementwise("mul", f"{prefix}/new/kept", reset, recalled)
    total = builder.elementwise("add", f"{prefix}/new/sum", driven, kept)
    candidate = builder.activation("tanh", f"{prefix}/new", total)
    rest = builder.elementwise("sub", f"{prefix}/rest", ones, update)
    return _remembered(builder, prefix, (update, past), (rest, candidate))


def _remembered(
    builder: Builder, prefix: str, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]
) -> Tensor:
    """The next state ``a ⊙ past + (1 − a) ⊙ candidate`` of two pairs of a share and a value.

    Not candidate + a ⊙ (past − candidate): the difference needs twice the range, and so twice the
    step, of the values within ±1 that it is made of.
    """
    carried = builder.elementwise("mul", f"{prefix}/carried", *old)
    taken = builder.elementwise("mul", f"{prefix}/taken", *new)
    past, latent = old[1], builder.elementwise("add", f"{prefix}_out", carried, taken)
    builder.states.append(State(prefix, past, latent))
    # A mean of values within ±1, from zero on.
    builder.bounded |= {past.name, carried.name, taken.name, latent.name}
    return latent
