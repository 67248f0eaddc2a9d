"""ADD and SUB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.c.arithmetic import Integers, Multiplier, multiplied
from export.c.call import Call, FieldValue, Params
from export.c.model import CModel, COperator, CTensor
from export.c.operators.broadcast import broadcast_field
from export.c.operators.elementwise import float_call, in_place, lut, simple, unary
from export.c.operators.scales import (
    SUFFIXES,
    multiplier,
    one_type,
    output_limits,
    quantization,
    scale_field,
)
from export.c.planes import VALUES, Plane, plane_of

_LEFT = {"int8": 20, "int16": 15}  # bits by which TFLM shifts the inputs
_KERNELS = {(1, 1): "add", (1, -1): "sub", (-1, 1): "rsb"}  # by the signs of wide and narrow


def add(model: CModel, operator: COperator) -> Call:
    return _sum(model, operator, 1)


def sub(model: CModel, operator: COperator) -> Call:
    return _sum(model, operator, -1)


@dataclass(frozen=True)
class _Term:
    """An input: its factor is that of its scale to twice the larger scale."""

    tensor: CTensor
    sign: int
    scale: float
    zero_point: int
    factor: Multiplier

    def share(self, stored: Integers) -> Integers:
        """What a stored int8 value adds to the sum."""
        shifted = (stored - self.zero_point) << _LEFT["int8"]
        return self.sign * multiplied(shifted, self.factor)


@dataclass(frozen=True)
class _Sum:
    """result = clamp((share of first + share of second) · output + zero point)."""

    first: _Term
    second: _Term
    output: Multiplier
    scale: float
    zero_point: int
    limits: tuple[int, int]

    def results(self, sums: Integers) -> Integers:
        return np.clip(multiplied(sums, self.output) + self.zero_point, *self.limits)


def _sum(model: CModel, operator: COperator, sign: int) -> Call:
    first, second = model.tensor(operator, 0), model.tensor(operator, 1)
    target = model.output(operator)
    dtype = one_type(model, operator, first, second, target)
    if dtype == "float32":
        return float_call(model, operator, "sordino_add_f32" if sign > 0 else "sordino_sub_f32")
    broadcast_field(model, operator, first, second)  # refuses what does not fit together
    total = _integers(model, operator, dtype, sign)
    if dtype == "int8":
        alone = unary(dtype, first, second)
        if alone is not None:
            return _with_constant(total, target, *alone)
        plane = _plane(total)
        if plane is not None:
            return _plane_call(model, operator, total, plane)
    return _rounding_call(model, operator, dtype, total)


def _integers(model: CModel, operator: COperator, dtype: str, sign: int) -> _Sum:
    tensors = [model.tensor(operator, place) for place in (0, 1)]
    target = model.output(operator)
    affine = [quantization(model, operator, tensor) for tensor in tensors]
    scale, zero_point = quantization(model, operator, target)
    double = 2 * max(affine[0][0], affine[1][0])
    ratio = double / (2 ** _LEFT[dtype] * scale)
    if ratio >= 1:
        raise model.refusal(
            operator, f"the output's scale {scale:g} is too small for that of the inputs"
        )
    first, second = (
        _Term(tensor, factor, own, point, multiplier(model, operator, own / double, 0))
        for tensor, factor, (own, point) in zip(tensors, (1, sign), affine, strict=True)
    )
    output, limits = multiplier(model, operator, ratio, 0), output_limits(model, operator, target)
    return _Sum(first, second, output, scale, zero_point, limits)


def _with_constant(total: _Sum, target: CTensor, source: CTensor, constant: Integers) -> Call:
    """A sum with one constant value: a table of the other input's 256 results."""
    shares = [
        term.share(VALUES if term.tensor is source else constant)
        for term in (total.first, total.second)
    ]
    return lut(source, target, total.results(shares[0] + shares[1]))


def _plane(total: _Sum) -> Plane | None:
    first, second = total.first, total.second
    results = total.results(first.share(VALUES)[:, None] + second.share(VALUES))
    slopes = (first.scale / total.scale, second.sign * second.scale / total.scale)
    height = total.zero_point - slopes[0] * first.zero_point - slopes[1] * second.zero_point
    return plane_of(results, (*slopes, height + 0.5), total.limits)


def _plane_call(model: CModel, operator: COperator, total: _Sum, plane: Plane) -> Call:
    first, second = total.first.tensor, total.second.tensor
    target = model.output(operator)
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("shape", broadcast_field(model, operator, first, second)),
        ("first", plane.first),
        ("second", plane.second),
        ("offset", plane.offset),
        ("shift", plane.shift),
        ("whole", int(total.limits == (-128, 127))),
        ("lowest", total.limits[0]),
        ("highest", total.limits[1]),
    )
    return Call(
        kernel="sordino_plane_s8",
        header="plane.h",
        params=Params("sordino_plane_s8_params", fields),
        inputs=(first.index, second.index),
        outputs=(target.index,),
        in_place=in_place(first, second, target),
        note="every result of TFLM's roundings from one shift",
    )


def _rounding_call(model: CModel, operator: COperator, dtype: str, total: _Sum) -> Call:
    """The sum as TFLM computes it; the input of the larger scale goes first."""
    wide, narrow = total.first, total.second
    if wide.scale < narrow.scale:
        wide, narrow = narrow, wide
    equal = wide.scale == narrow.scale
    half, target = 1 << (_LEFT[dtype] - 1), model.output(operator)
    offset = -half * wide.sign * wide.zero_point
    if equal:
        offset -= half * narrow.sign * narrow.zero_point
    fields: tuple[tuple[str, FieldValue], ...] = (
        ("shape", broadcast_field(model, operator, wide.tensor, narrow.tensor)),
        ("equal", int(equal)),
        ("simple", simple(total.output, dtype, total.limits)),
        ("offset", offset),
        ("narrow_zero_point", narrow.zero_point),
        ("narrow_multiplier", narrow.factor.value),
        ("narrow_high", narrow.factor.value >> 16 << (_LEFT[dtype] - 15)),
        ("narrow_low", narrow.factor.value & 0xFFFF),
        ("narrow_shift", max(narrow.factor.right, 1)),
        ("output", scale_field(total.output)),
        ("zero_point", total.zero_point),
        ("lowest", total.limits[0]),
        ("highest", total.limits[1]),
    )
    return Call(
        kernel=f"sordino_{_KERNELS[wide.sign, narrow.sign]}_{SUFFIXES[dtype]}",
        header="sum.h",
        params=Params("sordino_sum_params", fields),
        inputs=(wide.tensor.index, narrow.tensor.index),
        outputs=(target.index,),
        in_place=in_place(wide.tensor, narrow.tensor, target),
    )
