"""Operators that combine two tensors element by element."""

from __future__ import annotations

import numpy as np

from export.c.arithmetic import LIMITS, Integers, Multiplier, multiplied
from export.c.call import Call, CType, FieldValue, Params, table
from export.c.model import CModel, COperator, CTensor
from export.c.operators.broadcast import broadcast_field
from export.c.operators.scales import (
    SIMPLE_SHIFTS,
    SUFFIXES,
    by_bits,
    float_limits,
    multiplier,
    one_type,
    output_limits,
    quantization,
    scale_field,
)

_LARGEST_PRODUCT = {"int8": 255**2, "int16": 2**30}  # magnitude of two centred values' product


def mul(model: CModel, operator: COperator) -> Call:
    first, second = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    dtype = one_type(model, operator, first, second, target)
    if dtype == "float32":
        return float_call(model, operator, "sordino_mul_f32")
    factors = [quantization(model, operator, tensor) for tensor in (first, second)]
    scale, zero_point = quantization(model, operator, target)
    ratio = factors[0][0] * factors[1][0] / scale
    output = multiplier(model, operator, ratio, _LARGEST_PRODUCT[dtype])
    limits = output_limits(model, operator, target)
    shape = broadcast_field(model, operator, first, second)
    alone = unary(dtype, first, second)
    if alone is not None:
        source, constant = alone
        other = 1 if source is first else 0
        product = centred(factors[1 - other][1]) * (constant - factors[other][1])
        return lut(source, target, np.clip(multiplied(product, output) + zero_point, *limits))
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("shape", shape),
        ("simple", simple(output, dtype, limits)),
        ("first_zero_point", factors[0][1]),
        ("second_zero_point", factors[1][1]),
        ("output", scale_field(output)),
        ("zero_point", zero_point),
        ("lowest", limits[0]),
        ("highest", limits[1]),
    )
    return Call(
        kernel=f"sordino_product_{SUFFIXES[dtype]}",
        header="product.h",
        params=Params("sordino_product_params", fields),
        inputs=(first.index, second.index),
        outputs=(target.index,),
        in_place=in_place(first, second, target),
    )


def maximum(model: CModel, operator: COperator) -> Call:
    return _extremum(model, operator, "maximum")


def minimum(model: CModel, operator: COperator) -> Call:
    return _extremum(model, operator, "minimum")


def prelu(model: CModel, operator: COperator) -> Call:
    """PRELU in int8 and float32; TFLM has no other."""
    source, slopes = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    dtype = one_type(model, operator, source, slopes, target)
    if dtype == "int16":
        raise model.refusal(operator, "TFLM has no PRELU of int16")
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("shape", broadcast_field(model, operator, source, slopes)),
    )
    if dtype == "int8":
        scale, zero_point = quantization(model, operator, source)
        slope_scale, slope_zero_point = quantization(model, operator, slopes)
        output_scale, output_zero_point = quantization(model, operator, target)
        positive = multiplier(model, operator, scale / output_scale, 255)
        negative = multiplier(model, operator, scale * slope_scale / output_scale, 255**2)
        fields += (
            ("zero_point", zero_point),
            ("slope_zero_point", slope_zero_point),
            ("output_zero_point", output_zero_point),
            ("positive", scale_field(positive)),
            ("negative", scale_field(negative)),
        )
    return Call(
        kernel=f"sordino_prelu_{SUFFIXES[dtype]}",
        header="prelu.h",
        params=Params(f"sordino_prelu_{SUFFIXES[dtype]}_params", fields),
        inputs=(source.index, slopes.index),
        outputs=(target.index,),
        in_place=in_place(source, slopes, target),
    )


def lut(source: CTensor, target: CTensor, results: Integers) -> Call:
    """A table of the results for the int8 values −128 … 127; they may be int8 or int16."""
    name = "sordino_lut_s8" if target.dtype == "int8" else "sordino_lut_s8_s16"
    ctype: CType = "int8_t" if target.dtype == "int8" else "int16_t"
    fields = (("size", target.elements), ("results", table(by_bits(results), ctype)))
    return Call(
        kernel=name,
        header="lut.h",
        params=Params(f"{name}_params", fields),
        inputs=(source.index,),
        outputs=(target.index,),
        in_place=(0,) if target.dtype == "int8" else (),
    )


def _extremum(model: CModel, operator: COperator, name: str) -> Call:
    first, second = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    dtype = one_type(model, operator, first, second, target)
    if dtype != "float32":
        affine = {quantization(model, operator, tensor) for tensor in (first, second, target)}
        if len(affine) != 1:
            raise model.refusal(operator, "its tensors must share one scale, and they do not")
    shape = broadcast_field(model, operator, first, second)
    return Call(
        kernel=f"sordino_{name}_{SUFFIXES[dtype]}",
        header="extremum.h",
        params=Params("sordino_extremum_params", (("shape", shape),)),
        inputs=(first.index, second.index),
        outputs=(target.index,),
        in_place=in_place(first, second, target),
    )


def float_call(model: CModel, operator: COperator, kernel: str) -> Call:
    first, second = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    lowest, highest = float_limits(model, operator)
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("shape", broadcast_field(model, operator, first, second)),
        ("lowest", lowest),
        ("highest", highest),
    )
    return Call(
        kernel=kernel,
        header="elementwise_f32.h",
        params=Params("sordino_elementwise_f32_params", fields),
        inputs=(first.index, second.index),
        outputs=(target.index,),
        in_place=in_place(first, second, target),
    )


def unary(dtype: str, first: CTensor, second: CTensor) -> tuple[CTensor, Integers] | None:
    """The int8 input beside a constant of one element, and that element; None for anything else."""
    if dtype != "int8":
        return None
    for source, other in ((first, second), (second, first)):
        if other.data is not None and other.elements == 1 and source.data is None:
            return source, other.data.reshape(()).astype(np.int64)
    return None


def centred(zero_point: int) -> Integers:
    """All int8 values less their zero point."""
    return np.arange(-128, 128, dtype=np.int64) - zero_point


def simple(output: Multiplier, dtype: str, limits: tuple[int, int]) -> int:
    return int(output.shift in SIMPLE_SHIFTS and limits == LIMITS[dtype])


def in_place(first: CTensor, second: CTensor, target: CTensor) -> tuple[int, ...]:
    """Which inputs the output may replace: those that are not read twice."""
    tensors = (first, second)
    return tuple(place for place in (0, 1) if tensors[place].elements == target.elements)
