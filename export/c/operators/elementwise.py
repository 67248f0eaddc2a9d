"""Operators that combine two tensors element by element."""

from __future__ import annotations

from export.c.call import Call, Params
from export.c.model import CModel, COperator

FLOAT_LIMITS = {  # of fused activations
    "NONE": (-3.4028234663852886e38, 3.4028234663852886e38),
    "RELU": (0.0, 3.4028234663852886e38),
    "RELU6": (0.0, 6.0),
}


def add(model: CModel, operator: COperator) -> Call:
    """ADD of two tensors of equal shape, in float32."""
    left, right = model.tensor(operator, 0), model.tensor(operator, 1)
    output = model.output(operator)
    if {left.dtype, right.dtype, output.dtype} != {"float32"}:
        raise model.refusal(operator, f"no kernel adds {left.dtype} to {right.dtype}")
    if not left.shape == right.shape == output.shape:
        raise model.refusal(operator, f"it adds {list(left.shape)} to {list(right.shape)}")
    if operator.activation not in FLOAT_LIMITS:
        raise model.refusal(operator, f"the fused activation {operator.activation} has no kernel")
    lowest, highest = FLOAT_LIMITS[operator.activation]
    return Call(
        kernel="sordino_add_f32",
        header="elementwise.h",
        params=Params(
            "sordino_add_f32_params",
            (("size", output.elements), ("lowest", lowest), ("highest", highest)),
        ),
        inputs=(left.index, right.index),
        outputs=(output.index,),
        in_place=(0, 1),
    )
