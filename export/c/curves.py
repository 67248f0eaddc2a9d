"""Logistic and tanh as TFLM computes them in integers.

int8 goes through fixed-point polynomials and three Newton steps of the reciprocal (the scheme of
gemmlowp's ``fixedpoint``); the 256 results become a table. int16 interpolates a table of 256
values of the logistic function, from which tanh follows by tanh(x) = 2·logistic(2x) − 1.

A number in Qn.m is held in int64 as value · 2^m; n + m = 31.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.c.arithmetic import (
    INT32,
    Integers,
    doubling_high,
    multiplied,
    quantized_multiplier,
    shifted_left,
    shifted_right,
)

_INPUT_INTEGER_BITS = 4  # of the int8 kernels' input, Q4.27
_ONE = INT32[1]  # 1.0 in Q0.31, which ends just below it
_STEPS_PER_UNIT = 24  # entries of the int16 table per unit of x
CURVE_ENTRIES = 256


def logistic_s8(scale: float, zero_point: int) -> npt.NDArray[np.int8]:
    """Logistic of every int8 value −128 … 127, stored with scale 1/256 and zero point −128.

    Raises ValueError for a scale of 8 and more.
    """
    value, inside = _scaled_input(scale, zero_point)
    results = shifted_right(_logistic(value), 23) - 128
    return _outside_saturated(results, inside, zero_point)


def tanh_s8(scale: float, zero_point: int) -> npt.NDArray[np.int8]:
    """Tanh of every int8 value −128 … 127, stored with scale 1/128 and zero point 0.

    Raises ValueError for a scale of 8 and more.
    """
    value, inside = _scaled_input(scale, zero_point)
    results = shifted_right(_tanh(value), 24)
    return _outside_saturated(results, inside, zero_point)


def _outside_saturated(
    results: Integers, inside: npt.NDArray[np.bool_], zero_point: int
) -> npt.NDArray[np.int8]:
    ends = np.where(_centred(zero_point) > 0, 127, -128)
    return np.clip(np.where(inside, results, ends), -128, 127).astype(np.int8)


def _centred(zero_point: int) -> Integers:
    return np.arange(-128, 128, dtype=np.int64) - zero_point


def _scaled_input(scale: float, zero_point: int) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Every int8 value in Q4.27, and which of them lie inside what that can hold.

    Raises ValueError for a scale of 8 and more, with which TFLM overflows.
    """
    multiplier = quantized_multiplier(scale * 2 ** (31 - _INPUT_INTEGER_BITS))
    largest = (2**_INPUT_INTEGER_BITS - 1) * 2.0 ** (31 - _INPUT_INTEGER_BITS - multiplier.shift)
    radius = math.floor(largest)
    value = _centred(zero_point)
    inside = np.abs(value) < radius
    return multiplied(np.where(inside, value, 0), multiplier), inside


def _logistic(value: Integers) -> Integers:
    """Q4.27 to Q0.31."""
    exponential = _exponential(-np.abs(value), integer_bits=4)
    positive = shifted_left(_reciprocal(exponential), 1)
    result = np.where(value > 0, positive, _ONE - positive)
    return np.where(value == 0, 2**30, result)


def _tanh(value: Integers) -> Integers:
    """Q4.27 to Q0.31: (1 − e^−2x) / (1 + e^−2x), as 2 / (1 + e^−2x) − 1."""
    exponential = _exponential(-np.abs(value), integer_bits=5)  # read as Q5.26: twice as much
    magnitude = shifted_left(_reciprocal(exponential) - 2**29, 2)
    result = np.where(value < 0, -magnitude, magnitude)
    return np.where(value == 0, 0, result)


def _exponential(value: Integers, integer_bits: int) -> Integers:
    """e^value in Q0.31 of a value ≤ 0 with this many integer bits.

    The part below 1/4 goes through a polynomial; for every other bit of the value the result is
    multiplied by the exponential of that bit.
    """
    fraction = 31 - integer_bits
    quarter = 1 << (fraction - 2)
    below = (value & (quarter - 1)) - quarter
    result = _exponential_below_quarter(shifted_left(below, integer_bits))
    remainder = below - value
    for exponent in range(-2, integer_bits):
        factor = _round(math.exp(-(2.0**exponent)) * 2**31)
        chosen = remainder & (1 << (fraction + exponent)) != 0
        result = np.where(chosen, doubling_high(result, factor), result)
    return np.where(value == 0, _ONE, result)


def _exponential_below_quarter(value: Integers) -> Integers:
    """e^value in Q0.31 of a value in [−1/4, 0), by its series around −1/8 to the fourth power."""
    x = value + 2**28
    square = doubling_high(x, x)
    cube, fourth = doubling_high(square, x), doubling_high(square, square)
    third = doubling_high(shifted_right(fourth, 2) + cube, _round(2**31 / 3))
    series = shifted_right(third + square, 1)
    middle = _round(math.exp(-0.125) * 2**31)
    return middle + doubling_high(x + series, middle)


def _reciprocal(value: Integers) -> Integers:
    """2 / (1 + value) of a value in Q0.31, in Q2.29: three Newton steps from a line."""
    total = value + _ONE
    half = (total + 1) >> 1  # (1 + value) / 2
    x = _round(48 / 17 * 2**29) + doubling_high(half, _round(-32 / 17 * 2**29))
    for _ in range(3):
        missing = 2**29 - doubling_high(half, x)
        x = x + shifted_left(doubling_high(x, missing), 2)
    return x


def _round(value: float) -> int:
    return math.floor(value + 0.5)


def curve_table() -> npt.NDArray[np.uint16]:
    """Logistic of k/24 for k = 0 … 255 in units of 2^−16, raised by half of what a chord misses.

    Between two entries the curve bulges above its chord by up to −f″h²/8; half of that, added to
    every entry, makes the interpolation err as much upwards as downwards.
    """
    value = 1.0 / (1.0 + np.exp(-np.arange(CURVE_ENTRIES) / _STEPS_PER_UNIT))
    bulge = value * (1.0 - value) * (2.0 * value - 1.0) / _STEPS_PER_UNIT**2 / 8
    entries = np.floor(2.0**16 * (value + bulge / 2) + 0.5)
    entries[-1] = 2**16 - 1  # where the curve is cut off
    return entries.astype(np.uint16)


@dataclass(frozen=True)
class CurveScale:
    """An int16 input is multiplied by ``value`` and shifted right, rounding, by ``shift``.

    The result counts steps of 1 / (24 · 512).
    """

    value: int
    shift: int


# Input scales 2^-n that TFLM takes as whole steps, and with them what lies this close in n.
_WHOLE_STEPS = {"logistic": (12,), "tanh": (12, 11)}
_CLOSE = 1e-3


def curve_scale(name: str, scale: float) -> CurveScale:
    """How the int16 kernels of ``name`` bring an input of this scale to the table's steps.

    Any scale that is not taken as whole steps keeps 15 bits. Raises ValueError for one that
    overflows.
    """
    for exponent in _WHOLE_STEPS[name]:
        if abs(math.log2(scale) + exponent) < _CLOSE:
            return CurveScale(3 << (12 - exponent), 0)
    multiplier, shift = scale * 4096 * 3, 0
    while multiplier <= 32767 / 2 and shift <= 30:
        multiplier, shift = multiplier * 2, shift + 1
    if int(multiplier) >= 2**16:
        raise ValueError(f"an input scale of {scale:g} is too large")
    return CurveScale(int(multiplier), shift)
