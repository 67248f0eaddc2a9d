"""What the elementwise kernels do not take is refused by name, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.c.call import Refused
from export.c.operators.table import lower
from tests.export.c.exactness.files import Case, Value, model_of


def tensor(
    dtype: str = "int8", scale: float = 0.1, zero_point: int = 0, shape: tuple[int, ...] = (1, 4)
) -> Value:
    return Value(shape, dtype, (scale,), (zero_point,))


def alpha(value: float) -> Any:
    options = schema.LeakyReluOptionsT()
    options.alpha = value
    return options


def fused(kind: int) -> Any:
    options = schema.AddOptionsT()
    options.fusedActivationFunction = kind
    return options


AXES = Value.constant(np.array([5], np.int32))
WIDE = tensor(shape=(1, 2, 1, 2, 1, 2)), tensor(shape=(2, 1, 2, 1, 2, 1))
CASES: dict[str, tuple[str, Any, tuple[Value, ...], Value, str]] = {
    "scales apart": (
        "RELU6",
        None,
        (tensor(),),
        tensor(scale=0.2),
        "different scales, with which TFLM's result is wrong",
    ),
    "PRELU of int16": (
        "PRELU",
        None,
        (tensor("int16"), tensor("int16")),
        tensor("int16"),
        "TFLM has no PRELU of int16",
    ),
    "MAXIMUM between scales": (
        "MAXIMUM",
        schema.MaximumMinimumOptionsT(),
        (tensor(), tensor(scale=0.2)),
        tensor(),
        "must share one scale",
    ),
    "tiny output scale": (
        "ADD",
        schema.AddOptionsT(),
        (tensor(), tensor()),
        tensor(scale=1e-8),
        "output's scale 1e-08 is too small",
    ),
    "another type": (
        "SUB",
        schema.SubOptionsT(),
        (tensor(), tensor("int16")),
        tensor(),
        "no kernel takes int16 and int8",
    ),
    "unknown activation": (
        "ADD",
        fused(schema.ActivationFunctionType.TANH),
        (tensor(), tensor()),
        tensor(),
        "fused activation TANH has no kernel",
    ),
    "shapes that do not broadcast": (
        "MUL",
        schema.MulOptionsT(),
        (tensor(shape=(1, 3)), tensor(shape=(1, 4))),
        tensor(),
        r"\[1, 3\] and \[1, 4\] do not broadcast",
    ),
    "another output shape": (
        "MUL",
        schema.MulOptionsT(),
        (tensor(), tensor()),
        tensor(shape=(1, 5)),
        r"output has the shape \[1, 5\]",
    ),
    "too many axes": (
        "ADD",
        schema.AddOptionsT(),
        WIDE,
        tensor(shape=(2,) * 6),
        "broadcasting over 6 axes",
    ),
    "zero point of int16": (
        "ADD",
        schema.AddOptionsT(),
        (tensor("int16", zero_point=3), tensor("int16")),
        tensor("int16"),
        "int16 with the zero point 3",
    ),
    "overflow": (
        "MUL",
        schema.MulOptionsT(),
        (tensor("int16", 10.0), tensor("int16", 10.0)),
        tensor("int16"),
        "the ratio 1000, which overflows",
    ),
    "output of LOGISTIC": (
        "LOGISTIC",
        None,
        (tensor(),),
        tensor(),
        "must have the scale 0.00390625 and the zero point -128",
    ),
    "input of TANH": (
        "TANH",
        None,
        (tensor(scale=9.0),),
        tensor(scale=1 / 128),
        "scale, 9, TFLM overflows",
    ),
    "input of TANH in int16": (
        "TANH",
        None,
        (tensor("int16", 9.0),),
        tensor("int16", 1 / 32768),
        "scale, 9, TFLM overflows",
    ),
    "negative slope": ("LEAKY_RELU", alpha(-0.5), (tensor(),), tensor(), "slope is -0.5"),
    "float to int8": (
        "QUANTIZE",
        schema.QuantizeOptionsT(),
        (Value((1, 4), "float32"),),
        tensor(),
        "no kernel quantizes float32 to int8",
    ),
    "mean over no axis": (
        "MEAN",
        schema.ReducerOptionsT(),
        (tensor(), AXES),
        tensor(),
        r"it has no axes \[5\]",
    ),
    "mean of too many": (
        "MEAN",
        schema.ReducerOptionsT(),
        (tensor("int16", shape=(1, 40_000)), Value.constant(np.array([1], np.int32))),
        tensor("int16", shape=(1,)),
        "averages 40000 values",
    ),
    "no scale": (
        "ADD",
        schema.AddOptionsT(),
        (Value((1, 4), "int8"), tensor()),
        tensor(),
        "needs exactly one scale",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused(name: str) -> None:
    operator, options, inputs, output, reason = CASES[name]
    model = model_of([Case(operator, options, inputs, (output,), ())])
    with pytest.raises(Refused, match=reason) as refused:
        lower(model, model.operators[0])
    assert str(refused.value).startswith(f"{operator} (operator 0, writes ")
