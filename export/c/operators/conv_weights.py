"""What convolutions multiply with: types, weights in the kernels' order, folded biases."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from export.c.call import FieldValue, Table, table
from export.c.model import CModel, COperator, CTensor
from export.c.operators.conv_scaling import Scaling, affine, float_range

Array = npt.NDArray[Any]

# (input, weight, output) of the three families of kernels
KINDS = {
    ("int8", "int8", "int8"): "s8",
    ("int16", "int8", "int16"): "s16",
    ("float32", "float32", "float32"): "f32",
}
FOUR = 4  # int8 weights in a word, and rows that the kernels take at a time
NARROW_BIASES = ("CONV_2D", "FULLY_CONNECTED")  # for which TFLM takes int32 beside int16, too
READ_BEHIND = 16  # bytes behind the last row that vectors may read
LARGEST = {"int8": 128, "int16": 32768}  # stored value, without its sign
SUM_BITS = {"int32": 31, "int64": 47}  # of TFLM's sums, without the sign, by bias


def kernel_kind(model: CModel, operator: COperator, source: CTensor, weight: CTensor) -> str:
    """ "s8", "s16" or "f32"; refuses other types and weights that are no constants."""
    target = model.output(operator)
    kind = KINDS.get((source.dtype, weight.dtype, target.dtype))
    if kind is None:
        types = f"{source.dtype} times {weight.dtype} to {target.dtype}"
        raise model.refusal(operator, f"no kernel takes {types}")
    if weight.data is None:
        raise model.refusal(operator, f"the weights {weight.name!r} are no constant")
    if kind == "f32" and not np.isfinite(weight.data).all():
        raise model.refusal(operator, f"the weights {weight.name!r} are not finite")
    return kind


def stored_bias(model: CModel, operator: COperator, position: int, channels: int) -> Array:
    """The bias as the file has it, zeros where it has none."""
    dtype = model.output(operator).dtype
    wanted = {"int8": "int32", "int16": "int64", "float32": "float32"}[dtype]
    bias = model.optional(operator, position)
    if bias is None:
        return np.zeros(channels, wanted)
    narrow = dtype == "int16" and bias.dtype == "int32" and operator.name in NARROW_BIASES
    if bias.dtype != wanted and not narrow:
        raise model.refusal(operator, f"its bias is {bias.dtype}; beside {dtype} it is {wanted}")
    if bias.data is None or bias.data.size != channels:
        raise model.refusal(operator, f"the bias {bias.name!r} is no constant of {channels} values")
    if wanted == "float32" and not np.isfinite(bias.data).all():
        raise model.refusal(operator, f"the bias {bias.name!r} is not finite")
    return bias.data.reshape(-1)


def fill_of(model: CModel, operator: COperator, source: CTensor) -> int:
    """What stands for zero around the input; int16 and float32 have no zero point."""
    return affine(model, operator, source)[1] if source.dtype == "int8" else 0


def row_fields(
    model: CModel,
    operator: COperator,
    scaling: Scaling | None,
    rows: Array,
    bias: Array,
    groups: int,
) -> dict[str, FieldValue]:
    """The fields behind ``windows`` of a parameter struct, for ``rows [channels, length]``.

    Integer kernels take four rows at a time: each of the ``groups`` is filled up.
    """
    if scaling is None:
        return float_fields(model, operator, table(rows, "float"), bias)
    records, scaled = integer_fields(model, operator, scaling, rows, bias)
    pitch = padded(rows.shape[1])
    weights = np.pad(rows, ((0, 0), (0, pitch - rows.shape[1])))
    weights = _filled(weights, groups, "constant").reshape(-1)
    return {
        "channels": table(_filled(records, groups, "edge"), "int32_t"),
        "weights": table(np.pad(weights, (0, READ_BEHIND)), "int8_t"),
        "pitch": pitch,
        **scaled,
    }


def _filled(rows: Array, groups: int, mode: Literal["constant", "edge"]) -> Array:
    """``rows [channels, values]`` with rows behind those of each group: zeros, or the last one
    again, whose numbers a kernel may compute with though nothing comes of it."""
    filters = len(rows) // groups
    grouped = rows.reshape(groups, filters, -1)
    return np.pad(grouped, ((0, 0), (0, padded(filters) - filters), (0, 0)), mode=mode)


def float_fields(
    model: CModel, operator: COperator, weights: Table, bias: Array
) -> dict[str, FieldValue]:
    """``sordino_conv_f32_params`` behind ``windows``."""
    lowest, highest = float_range(model, operator)
    return {
        "weights": weights,
        "bias": table(bias, "float"),
        "lowest": lowest,
        "highest": highest,
    }


def integer_fields(
    model: CModel, operator: COperator, scaling: Scaling, rows: Array, bias: Array
) -> tuple[Array, dict[str, FieldValue]]:
    """A record per channel of ``rows [channels, length]``, and the fields behind ``pitch``."""
    folded, largest = folded_bias(model, operator, rows, bias)
    if model.output(operator).dtype == "int8":
        return scaling.s8_fields(folded)
    return scaling.s16_fields(folded, largest, bias.dtype == np.int32)


def padded(count: int) -> int:
    """The next multiple of :data:`FOUR`."""
    return -(-count // FOUR) * FOUR


def folded_bias(model: CModel, operator: COperator, rows: Array, bias: Array) -> tuple[Array, int]:
    """Bias less input zero point · sum of weights, so that kernels multiply stored values; and a
    bound of what sums may reach on the way. Refuses those that could leave TFLM's accumulator.
    """
    source = model.tensors[operator.inputs[2 if operator.name == "TRANSPOSE_CONV" else 0]]
    zero_point = affine(model, operator, source)[1]
    weights = rows.astype(np.int64)
    folded: Array = bias.astype(np.int64) - zero_point * weights.sum(axis=1)
    products = np.abs(weights).sum(axis=1) * LARGEST[source.dtype]
    # In float64: near the ends of int64 a bias must not wrap here.
    reached = np.maximum(np.abs(bias.astype(np.float64)), np.abs(folded.astype(np.float64)))
    largest = float((reached + products).max())
    if largest >= 2.0 ** SUM_BITS[bias.dtype.name]:
        raise model.refusal(
            operator, f"its sums may need more than {SUM_BITS[bias.dtype.name]} bits and a sign"
        )
    return folded, int(largest)
