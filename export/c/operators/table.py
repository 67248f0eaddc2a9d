"""Which function lowers which builtin operator. Nothing registers itself by being imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from export.c.call import Lowered
from export.c.model import CModel, COperator
from export.c.operators import convolution, elementwise, moving

Lower = Callable[[CModel, COperator], Lowered]

OPERATORS: Mapping[str, Lower] = {
    "ADD": elementwise.add,
    "CONCATENATION": moving.concatenation,
    "CONV_2D": convolution.conv_2d,
    "EXPAND_DIMS": moving.reshape,
    "FULLY_CONNECTED": convolution.fully_connected,
    "PACK": moving.pack,
    "PAD": moving.pad,
    "RESHAPE": moving.reshape,
    "SLICE": moving.slice_,
    "SPLIT": moving.split,
    "SPLIT_V": moving.split_v,
    "SQUEEZE": moving.reshape,
    "STRIDED_SLICE": moving.strided_slice,
    "TRANSPOSE": moving.transpose,
    "UNPACK": moving.unpack,
}


def lower(model: CModel, operator: COperator) -> Lowered:
    """What one operator becomes in C; raises Refused for one that is not in the table."""
    function = OPERATORS.get(operator.name)
    if function is None:
        raise model.refusal(operator, "this operator has no C kernel")
    return function(model, operator)
