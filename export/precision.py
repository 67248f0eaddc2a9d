"""Which tensors are int8 and which int16, and where one becomes the other.

Kernels take inputs and outputs of one width, so width belongs to operators. Operators that only
move values, and states, keep the width of what they move: see :func:`tied_groups`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from export.rectifiers import written_out
from export.step_graph import (
    Activation,
    Concat,
    Elementwise,
    Moving,
    Operand,
    Operator,
    Prelu,
    Requantize,
    StepGraph,
    Tensor,
    sources,
)

Precision = Literal["int8", "int16"]


@dataclass(frozen=True)
class PreciseGraph:
    """A graph whose every tensor has a width, with :class:`Requantize` where widths meet.

    ``origins`` names, for each tensor that an inserted Requantize made, the tensor it came from;
    ``within``, for each other tensor that the float graph lacks, one whose range holds it.
    """

    graph: StepGraph
    precision: Mapping[str, Precision] = field(repr=False)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    within: Mapping[str, str] = field(default_factory=dict, repr=False)

    def held_by(self, name: str) -> str:
        """The tensor of the float graph whose range holds a tensor's values."""
        known = self.within.get(name, name)
        return self.origins.get(known, known)


def tied_groups(graph: StepGraph) -> list[set[str]]:
    """Sets of tensor names that must share scale and zero point; every tensor is in one."""
    parent: dict[str, str] = {tensor.name: tensor.name for tensor in graph.inputs}
    parent.update({operator.output.name: operator.output.name for operator in graph.operators})

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for operator in graph.operators:
        if isinstance(operator, Moving):
            for source in sources(operator):
                parent[root(source.name)] = root(operator.output.name)
    for state in graph.states:
        parent[root(state.input.name)] = root(state.output.name)
    groups: dict[str, set[str]] = {}
    for name in parent:
        groups.setdefault(root(name), set()).add(name)
    return list(groups.values())


def computed(graph: StepGraph) -> frozenset[str]:
    """Tensors whose values come from outside or from an operator that computes."""
    made = {op.output.name for op in graph.operators if not isinstance(op, Moving)}
    return frozenset(made | {graph.features.name})


def wide_everywhere(graph: StepGraph) -> frozenset[str]:
    """The choice that makes every tensor int16."""
    return computed(graph)


def with_precision(graph: StepGraph, wide: Collection[str]) -> PreciseGraph:
    """Give the operators that compute the tensors ``wide`` int16 activations, all others int8.

    A tied group is wide as soon as one of its tensors is named. The features are named by their
    own name. Functions whose integer kernels demand a scale of their own get a Requantize before
    they join values of another scale; PReLU is written out where it is int16.
    """
    graph, origins = _separated(graph)
    named = set(wide)
    precision: dict[str, Precision] = {}
    for group in tied_groups(graph):
        width: Precision = (
            "int16" if named & {origins.get(name, name) for name in group} else "int8"
        )
        precision.update(dict.fromkeys(group, width))
    bounded = set(graph.bounded)
    operators: list[Operator] = []
    within: dict[str, str] = {}
    converted: dict[tuple[str, Precision], Tensor] = {}
    for operator in graph.operators:
        width = precision[operator.output.name]
        renamed: dict[str, Tensor] = {}
        if not isinstance(operator, Moving | Requantize):
            for source in sources(operator):
                if precision[source.name] == width:
                    continue
                if (source.name, width) not in converted:
                    twin = Tensor(f"{source.name}/{width}", source.shape)
                    converted[source.name, width] = twin
                    operators.append(Requantize(twin, source))
                    precision[twin.name] = width
                    origins[twin.name] = origins.get(source.name, source.name)
                    if source.name in bounded:
                        bounded.add(twin.name)
                renamed[source.name] = converted[source.name, width]
        current = reading(operator, renamed)
        if width == "int16" and isinstance(current, Prelu):
            parts, added = written_out(current)
            operators += parts
            within |= added
            precision.update(dict.fromkeys(added, width))
        else:
            operators.append(current)
    changed = replace(graph, operators=tuple(operators), bounded=frozenset(bounded))
    return PreciseGraph(changed, precision, origins, within)


def _separated(graph: StepGraph) -> tuple[StepGraph, dict[str, str]]:
    """Put a Requantize behind each logistic or tanh that is tied to values made elsewhere."""
    made = computed(graph)
    crowded = {
        name for group in tied_groups(graph) if len(group & made) > 1 for name in group & made
    }
    origins: dict[str, str] = {}
    operators: list[Operator] = []
    for operator in graph.operators:
        fixed = isinstance(operator, Activation) and operator.kind in ("logistic", "tanh")
        if not fixed or operator.output.name not in crowded:
            operators.append(operator)
            continue
        output = operator.output
        own = Tensor(f"{output.name}/own", output.shape)
        origins[own.name] = output.name
        operators += [replace(operator, output=own), Requantize(output, own)]
    return replace(graph, operators=tuple(operators)), origins


def reading(operator: Operator, renamed: Mapping[str, Tensor]) -> Operator:
    """The operator with other sources."""

    def current(operand: Operand) -> Operand:
        return renamed.get(operand.name, operand)

    if not renamed:
        return operator
    match operator:
        case Elementwise():
            return replace(operator, left=current(operator.left), right=current(operator.right))
        case Concat():
            return operator  # it moves values: never of another width than its inputs
        case _:
            return replace(operator, input=renamed.get(operator.input.name, operator.input))
