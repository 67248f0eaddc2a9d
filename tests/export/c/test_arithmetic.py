"""The rounding rules against their definitions in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.c.arithmetic import (
    Multiplier,
    activation_range,
    doubling_high,
    multiplied,
    multiplied_wide,
    quantized_multiplier,
    shifted_left,
    shifted_right,
)

INT32 = st.integers(-(2**31), 2**31 - 1)
HALF = Fraction(1, 2)


def away_from_zero(value: Fraction) -> int:
    size = math.floor(abs(value) + HALF)
    return size if value >= 0 else -size


def half_up(value: Fraction) -> int:
    return math.floor(value + HALF)


@given(INT32, INT32)
def test_a_doubled_product_rounds_half_up(left: int, right: int) -> None:
    found = int(doubling_high(np.array([left]), right)[0])
    assert found == min(half_up(Fraction(left * right, 2**31)), 2**31 - 1)


@given(INT32, st.integers(0, 31))
def test_a_right_shift_rounds_half_away_from_zero(value: int, bits: int) -> None:
    found = int(shifted_right(np.array([value]), bits)[0])
    assert found == away_from_zero(Fraction(value, 2**bits))


@given(INT32, st.integers(0, 20))
def test_a_left_shift_saturates(value: int, bits: int) -> None:
    found = int(shifted_left(np.array([value]), bits)[0])
    assert found == max(min(value * 2**bits, 2**31 - 1), -(2**31))


@given(st.floats(2.0**-31, 2.0**29))
def test_a_multiplier_is_the_nearest_of_31_bits(real: float) -> None:
    found = quantized_multiplier(real)
    stored = Fraction(found.value) * Fraction(2) ** (found.shift - 31)
    assert 2**30 <= found.value < 2**31
    assert abs(stored - Fraction(real)) * 2**31 <= Fraction(2) ** found.shift / 2


@pytest.mark.parametrize("real", [-1.0, math.nan, math.inf, 2.0**31])
def test_what_no_multiplier_holds(real: float) -> None:
    with pytest.raises(ValueError, match="multiplier"):
        quantized_multiplier(real)


def test_almost_nothing_multiplies_to_nothing() -> None:
    assert quantized_multiplier(0.0) == quantized_multiplier(2.0**-40) == Multiplier(0, 0)


@given(st.integers(-(2**24), 2**24), st.floats(2.0**-30, 60.0))
def test_a_product_is_rounded_twice(value: int, real: float) -> None:
    by = quantized_multiplier(real)
    once = half_up(Fraction(value * 2**by.left * by.value, 2**31))
    twice = away_from_zero(Fraction(once, 2**by.right))
    assert int(multiplied(np.array([value]), by)[0]) == twice


@given(st.integers(-(2**40), 2**40), st.floats(2.0**-30, 1.0))
def test_a_wide_product_is_rounded_once(value: int, real: float) -> None:
    by = quantized_multiplier(real)
    factor = min((by.value + 2**15) // 2**16, 2**15 - 1)
    exact = Fraction(value * factor) * Fraction(2) ** (by.shift - 15)
    assert int(multiplied_wide(np.array([value]), by)[0]) == half_up(exact)


@pytest.mark.parametrize(
    ("activation", "limits"),
    [
        ("NONE", (-128, 127)),
        ("RELU", (-20, 127)),
        ("RELU6", (-20, 40)),
        ("RELU_N1_TO_1", (-30, -10)),
        ("TANH", None),
    ],
)
def test_limits_of_fused_activations(activation: str, limits: tuple[int, int] | None) -> None:
    assert activation_range(activation, "int8", 0.1, -20) == limits
