"""Operators that combine two tensors element by element."""

from __future__ import annotations

from dataclasses import dataclass

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

_LEFT = {"int8": 20, "int16": 15}  # bits by which TFLM shifts the inputs of ADD and SUB
_LARGEST = {"int8": 255, "int16": 65_535}  # magnitude of a centred value
_SUMS = {(1, 1): "add", (1, -1): "sub", (-1, 1): "rsb"}  # kernels by the signs of the inputs
_PAIRS_FROM = 64  # elements from which a table of 511 results is worth its bytes


def add(model: CModel, operator: COperator) -> Call:
    return _sum(model, operator, 1)


def sub(model: CModel, operator: COperator) -> Call:
    return _sum(model, operator, -1)


def mul(model: CModel, operator: COperator) -> Call:
    first, second = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    dtype = one_type(model, operator, first, second, target)
    if dtype == "float32":
        return _float(model, operator, "sordino_mul_f32")
    factors = [quantization(model, operator, tensor) for tensor in (first, second)]
    scale, zero_point = quantization(model, operator, target)
    # In int8 and int16 the products differ in what they may be shifted by.
    largest = (_LARGEST[dtype] if dtype == "int8" else 2**15) ** 2
    output = multiplier(model, operator, factors[0][0] * factors[1][0] / scale, largest)
    limits = output_limits(model, operator, target)
    shape = broadcast_field(model, operator, first, second)
    alone = _unary(dtype, first, second)
    if alone is not None:
        source, constant = alone
        other = 1 if source is first else 0
        product = centred(factors[1 - other][1]) * (constant - factors[other][1])
        return lut(source, target, np.clip(multiplied(product, output) + zero_point, *limits))
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("shape", shape),
        ("simple", _simple(output, dtype, limits)),
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
        in_place=_in_place(first, second, target),
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
        in_place=_in_place(source, slopes, target),
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


@dataclass(frozen=True)
class _Term:
    """An input of ADD or SUB: its factor is that of its scale to twice the larger scale."""

    tensor: CTensor
    sign: int
    zero_point: int
    factor: Multiplier


def _sum(model: CModel, operator: COperator, sign: int) -> Call:
    first, second = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    dtype = one_type(model, operator, first, second, target)
    if dtype == "float32":
        return _float(model, operator, "sordino_add_f32" if sign > 0 else "sordino_sub_f32")
    affine = [quantization(model, operator, tensor) for tensor in (first, second)]
    scale, zero_point = quantization(model, operator, target)
    double = 2 * max(affine[0][0], affine[1][0])
    ratio = double / (2 ** _LEFT[dtype] * scale)
    if ratio >= 1:
        raise model.refusal(
            operator, f"the output's scale {scale:g} is too small for that of the inputs"
        )
    output = multiplier(model, operator, ratio, 0)
    limits = output_limits(model, operator, target)
    terms = [
        _Term(tensor, factor, point, multiplier(model, operator, own / double, 0))
        for tensor, factor, (own, point) in zip((first, second), (1, sign), affine, strict=True)
    ]
    broadcast_field(model, operator, first, second)  # refuses what does not fit together
    alone = _unary(dtype, first, second)
    if alone is not None:
        source, constant = alone
        shares = [
            _share(term, centred(0) if term.tensor is source else constant, _LEFT["int8"])
            for term in terms
        ]
        results = multiplied(shares[0] + shares[1], output) + zero_point
        return lut(source, target, np.clip(results, *limits))
    equal = affine[0][0] == affine[1][0]
    many = target.elements >= _PAIRS_FROM
    if equal and many and dtype == "int8" and first.shape == second.shape:
        return _pairs(terms, target, output, zero_point, limits)
    wide, narrow = terms if affine[0][0] >= affine[1][0] else terms[::-1]
    half = 1 << (_LEFT[dtype] - 1)
    offset = -half * wide.sign * wide.zero_point
    if equal:
        offset -= half * narrow.sign * narrow.zero_point
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("shape", broadcast_field(model, operator, wide.tensor, narrow.tensor)),
        ("equal", int(equal)),
        ("simple", _simple(output, dtype, limits)),
        ("offset", offset),
        ("narrow_zero_point", narrow.zero_point),
        ("narrow_multiplier", narrow.factor.value),
        ("narrow_high", narrow.factor.value >> 16 << (_LEFT[dtype] - 15)),
        ("narrow_low", narrow.factor.value & 0xFFFF),
        ("narrow_shift", max(narrow.factor.right, 1)),
        ("output", scale_field(output)),
        ("zero_point", zero_point),
        ("lowest", limits[0]),
        ("highest", limits[1]),
    )
    return Call(
        kernel=f"sordino_{_SUMS[wide.sign, narrow.sign]}_{SUFFIXES[dtype]}",
        header="sum.h",
        params=Params("sordino_sum_params", fields),
        inputs=(wide.tensor.index, narrow.tensor.index),
        outputs=(target.index,),
        in_place=_in_place(wide.tensor, narrow.tensor, target),
    )


def _share(term: _Term, stored: Integers, left: int) -> Integers:
    """What an input adds to the sum."""
    return term.sign * multiplied((stored - term.zero_point) << left, term.factor)


def _pairs(
    terms: list[_Term],
    target: CTensor,
    output: Multiplier,
    zero_point: int,
    limits: tuple[int, int],
) -> Call:
    """Two int8 inputs of one scale: the result depends on the sum of both stored values alone."""
    first, second = terms
    lowest = -256 if second.sign > 0 else -255
    sums = np.arange(lowest, lowest + 511, dtype=np.int64)
    centred = sums - first.zero_point - second.sign * second.zero_point
    results = np.clip(multiplied(centred << 19, output) + zero_point, *limits)
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("size", target.elements),
        ("results", table(results, "int8_t")),
    )
    name = "sordino_pairs_add_s8" if second.sign > 0 else "sordino_pairs_sub_s8"
    return Call(
        kernel=name,
        header="pairs.h",
        params=Params("sordino_pairs_params", fields),
        inputs=(first.tensor.index, second.tensor.index),
        outputs=(target.index,),
        in_place=(0, 1),
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
        in_place=_in_place(first, second, target),
    )


def _float(model: CModel, operator: COperator, kernel: str) -> Call:
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
        in_place=_in_place(first, second, target),
    )


def _unary(dtype: str, first: CTensor, second: CTensor) -> tuple[CTensor, Integers] | None:
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


def _simple(output: Multiplier, dtype: str, limits: tuple[int, int]) -> int:
    return int(output.shift in SIMPLE_SHIFTS and limits == LIMITS[dtype])


def _in_place(first: CTensor, second: CTensor, target: CTensor) -> tuple[int, ...]:
    """Which inputs the output may replace: those that are not read twice."""
    tensors = (first, second)
    return tuple(place for place in (0, 1) if tensors[place].elements == target.elements)
