"""Other names for tensors of a step graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from export.step_graph import Concat, Elementwise, Operand, Operator, Tensor, sources


def renamed(operators: Sequence[Operator], names: Mapping[str, str]) -> list[Operator]:
    """With tensors called by their new names wherever they are made or read."""
    return [_renamed(operator, names) for operator in operators]


def _renamed(operator: Operator, names: Mapping[str, str]) -> Operator:
    if operator.output.name not in names and not any(
        one.name in names for one in sources(operator)
    ):
        return operator

    def tensor(one: Tensor) -> Tensor:
        return Tensor(names[one.name], one.shape) if one.name in names else one

    def operand(one: Operand) -> Operand:
        return tensor(one) if isinstance(one, Tensor) else one

    output = tensor(operator.output)
    match operator:
        case Concat():
            return replace(operator, output=output, inputs=tuple(map(tensor, operator.inputs)))
        case Elementwise():
            left, right = operand(operator.left), operand(operator.right)
            return replace(operator, output=output, left=left, right=right)
        case _:
            return replace(operator, output=output, input=tensor(operator.input))
