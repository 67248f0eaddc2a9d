"""From torch's operators to those of the step graph, one by one."""

from __future__ import annotations

import operator as python_operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.fx import Node

from export.importing.builder import Builder
from export.importing.layout import Value
from export.importing.program import Program, in_place, operator_of, place_of, shown
from export.importing.refusals import Unfit, reason_for, uncovered
from export.importing.table import TRANSLATIONS

_VIEWS = (
    "view",
    "reshape",
    "permute",
    "transpose",
    "slice",
    "select",
    "narrow",
    "alias",
    "expand",
    "squeeze",
    "unsqueeze",
    "split",
    "split_with_sizes",
    "chunk",
    "unbind",
    "t",
    "flatten",
)


# They look at the shape of what they are given, not at its values.
_SHAPED = ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")

_RANDOM = ("it is random", "A device computes the same thing twice: use fixed numbers.")


@dataclass
class Translation:
    """Every node's value: computed, or a constant tensor where no input reaches it."""

    program: Program
    builder: Builder
    values: dict[Node, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Translate all nodes. Raises Uncovered."""
        program = self.program
        for node in _constant_inputs(program):
            self.values[node] = program.constants[node.name]
        wanted = _needed(program)
        self._refuse_unknown(wanted)
        for node in (node for node in program.nodes if node in wanted):
            self.values[node] = self._translated(node)
            if in_place(node):
                self._overwrite(node)

    def _refuse_unknown(self, wanted: set[Node]) -> None:
        """All operators that are not covered, before anything is translated."""
        reached = _reached(self.program) & wanted
        unknown = [
            node
            for node in self.program.nodes
            if node in reached
            and operator_of(node) not in _SHAPED
            and node.target is not python_operator.getitem
            and operator_of(node) not in TRANSLATIONS
        ]
        if unknown:
            first, *others = unknown
            listed = dict.fromkeys(f"{shown(node)} in {place_of(node)}" for node in others)
            why = reason_for(operator_of(first))
            raise uncovered(shown(first), place_of(first), *why, list(listed))

    def _translated(self, node: Node) -> Any:
        arguments = self._looked_up(node.args)
        named = {key: self._looked_up(value) for key, value in node.kwargs.items()}
        if node.target is python_operator.getitem:
            source, index = arguments
            return source[index]
        name = operator_of(node)
        if name in _SHAPED and isinstance(arguments[0], Value):
            arguments[0] = torch.zeros(arguments[0].wide)
        if not _any_computed((arguments, named)):
            assert callable(node.target)
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise uncovered(name, place_of(node), *_RANDOM)
            with torch.no_grad():
                return node.target(*arguments, **named)
        place = place_of(node)
        self.builder.scope = _scope(place.module, name, self.program.modules)
        try:
            return TRANSLATIONS[name](self.builder, *arguments, **_known(named))
        except Unfit as error:
            raise uncovered(name, place, error.reason, error.hint) from error

    def _overwrite(self, node: Node) -> None:
        """Who reads the operand of an in-place operator later sees its result."""
        source = node.args[0]
        assert isinstance(source, Node)
        if not isinstance(self.values[source], Value):
            return
        late = (
            user for view in source.users if _is_view(view) for user in view.users if node < user
        )
        if _is_view(source) or any(late):
            raise uncovered(shown(node), place_of(node), *reason_for("copy"))
        self.values[source] = self.values[node]

    def _looked_up(self, argument: Any) -> Any:
        if isinstance(argument, Node):
            return self.values[argument]
        if isinstance(argument, list | tuple):
            return [self._looked_up(entry) for entry in argument]
        return argument


def _known(named: dict[str, Any]) -> dict[str, Any]:
    """Without what says where and how values are stored."""
    return {
        key: value
        for key, value in named.items()
        if key not in ("dtype", "device", "layout", "pin_memory", "memory_format")
    }


def _is_view(node: Node) -> bool:
    return node.op == "call_function" and operator_of(node) in _VIEWS


def _constant_inputs(program: Program) -> list[Node]:
    graph = program.outputs[0].graph
    return [node for node in graph.nodes if node.name in program.constants]


def _reached(program: Program) -> set[Node]:
    """Nodes that depend on the features or a state."""
    reached = set(program.inputs)
    for node in program.nodes:
        if any(source in reached for source in node.all_input_nodes):
            reached.add(node)
    return reached


def _needed(program: Program) -> set[Node]:
    """Nodes that the outputs depend on, or may: what is written in place need not have users."""
    needed: set[Node] = set()
    pending = [*program.outputs, *filter(in_place, program.nodes)]
    while pending:
        node = pending.pop()
        if node not in needed:
            needed.add(node)
            pending += node.all_input_nodes
    return needed


def _any_computed(values: Any) -> bool:
    if isinstance(values, dict):
        return any(map(_any_computed, values.values()))
    if isinstance(values, list | tuple):
        return any(map(_any_computed, values))
    return isinstance(values, Value)


def _scope(path: str, name: str, modules: dict[str, nn.Module]) -> str:
    """Torch's own modules do one thing: their path says all."""
    module = modules.get(path)
    if path and module is not None and type(module).__module__.startswith("torch.nn"):
        return path
    return f"{path}/{name}" if path else name


def translated(program: Program, builder: Builder, inputs: Sequence[Value]) -> list[Any]:
    """The values of the outputs, given those of features and states."""
    translation = Translation(program, builder)
    translation.values.update(zip(program.inputs, inputs, strict=True))
    translation.run()
    return [translation.values[node] for node in program.outputs]
