"""What it costs a device to make tensors int16: a model of instructions and of bytes.

Only the order matters, for choosing between layers; what a mix really takes is measured on the
generated C and by the memory plan. An int16 multiplication takes about as many instructions as an
int8 one where the core widens bytes anyway (Cortex-M4), twice as many where vectors hold half the
lanes (Helium, NPUs); each value moved or stored takes one more byte.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

from export.precision import computed, tied_groups
from export.step_graph import StepGraph, Tensor

MAC = 1.0  # of one more multiply-accumulate's worth of work
VALUE = 4.0  # a value computed in int16: two loads, a wider scaling, a store
BYTE = 1.0  # of memory that lasts from step to step or between operators


@dataclass(frozen=True)
class Unit:
    """Tensors that must be of one width: what can be made int16 on its own.

    ``layers`` are those an operator computes (or the features), by which a unit is named;
    ``macs`` and ``values`` are computed per step, ``bytes`` stored.
    """

    layers: tuple[str, ...]
    tensors: frozenset[str]
    macs: int
    values: int
    bytes: int

    @property
    def name(self) -> str:
        return self.layers[0]

    @property
    def cost(self) -> float:
        return MAC * self.macs + VALUE * self.values + BYTE * self.bytes


def units(graph: StepGraph) -> list[Unit]:
    """The units of a float graph, in the order of execution."""
    made = computed(graph)
    shapes: dict[str, Tensor] = {tensor.name: tensor for tensor in graph.inputs}
    shapes.update({operator.output.name: operator.output for operator in graph.operators})
    macs: Mapping[str, int] = {op.output.name: op.macs for op in graph.weighted}
    order = {name: place for place, name in enumerate(shapes)}
    found = []
    for group in tied_groups(graph):
        layers = sorted(group & made, key=lambda name: order[name])
        if not layers:  # a state that only ever carries zeros
            layers = sorted(group, key=lambda name: order[name])[:1]
        found.append(
            Unit(
                layers=tuple(layers),
                tensors=frozenset(group),
                macs=sum(macs.get(name, 0) for name in group),
                values=sum(prod(shapes[name].shape) for name in layers),
                bytes=max(prod(shapes[name].shape) for name in group)
                + sum(
                    prod(state.input.shape) for state in graph.states if state.input.name in group
                ),
            )
        )
    return sorted(found, key=lambda unit: order[unit.layers[0]])


def widening_cost(graph: StepGraph, wide: Collection[str]) -> float:
    """Cost of a mix, by the names of its wide layers."""
    parts = units(graph)
    return sum(part.cost for part in parts if part.tensors & set(wide))
