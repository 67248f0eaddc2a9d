"""Which function lowers which builtin operator. Nothing registers itself by being imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from export.c.call import Lowered
from export.c.model import CModel, COperator
from export.c.operators import elementwise

Lower = Callable[[CModel, COperator], Lowered]

OPERATORS: Mapping[str, Lower] = {
    "ADD": elementwise.add,
}


def lower(model: CModel, operator: COperator) -> Lowered:
    """What one operator becomes in C; raises Refused for one that is not in the table."""
    function = OPERATORS.get(operator.name)
    if function is None:
        raise model.refusal(operator, "this operator has no C kernel")
    return function(model, operator)
