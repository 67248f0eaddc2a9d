"""Which function lowers which builtin operator. Nothing registers itself by being imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from export.c.call import Lowered
from export.c.model import CModel, COperator
from export.c.operators import (
    activation,
    convolution,
    depthwise,
    elementwise,
    moving,
    reduction,
    sums,
    transpose_conv,
)

Lower = Callable[[CModel, COperator], Lowered]

OPERATORS: Mapping[str, Lower] = {
    "ADD": sums.add,
    "CONCATENATION": moving.concatenation,
    "CONV_2D": convolution.conv_2d,
    "DEPTHWISE_CONV_2D": depthwise.depthwise_conv_2d,
    "DEQUANTIZE": activation.dequantize,
    "EXPAND_DIMS": moving.reshape,
    "FULLY_CONNECTED": convolution.fully_connected,
    "LEAKY_RELU": activation.leaky_relu,
    "LOGISTIC": activation.logistic,
    "MAXIMUM": elementwise.maximum,
    "MEAN": reduction.mean,
    "MINIMUM": elementwise.minimum,
    "MUL": elementwise.mul,
    "PACK": moving.pack,
    "PAD": moving.pad,
    "PRELU": elementwise.prelu,
    "QUANTIZE": activation.quantize,
    "RELU": activation.relu,
    "RELU6": activation.relu6,
    "RESHAPE": moving.reshape,
    "SLICE": moving.slice_,
    "SPLIT": moving.split,
    "SPLIT_V": moving.split_v,
    "SQUEEZE": moving.reshape,
    "STRIDED_SLICE": moving.strided_slice,
    "SUB": sums.sub,
    "TANH": activation.tanh,
    "TRANSPOSE": moving.transpose,
    "TRANSPOSE_CONV": transpose_conv.transpose_conv,
    "UNPACK": moving.unpack,
}


def lower(model: CModel, operator: COperator) -> Lowered:
    """What one operator becomes in C; raises Refused for one that is not in the table."""
    function = OPERATORS.get(operator.name)
    if function is None:
        raise model.refusal(operator, "this operator has no C kernel")
    return function(model, operator)
