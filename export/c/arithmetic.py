"""The integer arithmetic of TensorFlow Lite for Microcontrollers, in numpy.

Nothing here was copied: each function states what the interpreter was found to compute, and
``tests/export/c/exactness`` compares the kernels built on it with the interpreter, value by value.
All arrays are int64 that hold int32 values unless a docstring says otherwise.

A real multiplier is stored as ``multiplier · 2^(shift − 31)`` with a multiplier of 31 bits. Its
product with an integer is rounded twice: once after the high half of the doubled product (ties
towards +∞), once after the right shift (ties away from zero). This is the scheme of gemmlowp,
https://github.com/google/gemmlowp/blob/master/doc/quantization.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

INT32 = (-(2**31), 2**31 - 1)
LIMITS = {"int8": (-128, 127), "int16": (-32_768, 32_767)}


@dataclass(frozen=True)
class Multiplier:
    """``value · 2^(shift − 31)``; ``value`` is 0 or has 31 bits, ``shift`` is −31 … 30."""

    value: int
    shift: int

    @property
    def left(self) -> int:
        """Bits by which the factor is shifted left before it is multiplied."""
        return max(self.shift, 0)

    @property
    def right(self) -> int:
        """Bits by which the product is shifted right, rounding, afterwards."""
        return max(-self.shift, 0)


def quantized_multiplier(real: float) -> Multiplier:
    """The nearest multiplier to a number ≥ 0; what is below 2^−32 becomes 0.

    Raises ValueError for one that is negative, not finite, or 2^30 and more.
    """
    if not (math.isfinite(real) and real >= 0):
        raise ValueError(f"{real!r} is no multiplier")
    if real == 0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    value = _round_half_away(fraction * 2**31)
    if value == 2**31:
        value, shift = value // 2, shift + 1
    if shift < -31:
        return Multiplier(0, 0)
    if shift > 30:
        raise ValueError(f"{real!r} is too large for a multiplier")
    return Multiplier(value, shift)


def _round_half_away(value: float) -> int:
    """To the nearest integer; a value ≥ 0 between two goes up."""
    below = math.floor(value)
    return below + (value - below >= 0.5)


def doubling_high(left: Integers, right: Integers | int) -> Integers:
    """``left · right / 2^31``, rounded to nearest, ties towards +∞; −2^31 · −2^31 saturates."""
    product = np.asarray(left, np.int64) * np.asarray(right, np.int64)
    return np.minimum((product + 2**30) >> 31, INT32[1])


def shifted_right(value: Integers, bits: int) -> Integers:
    """``value / 2^bits``, rounded to nearest, ties away from zero."""
    if bits == 0:
        return value
    return (value + (1 << (bits - 1)) - (value < 0)) >> bits


def shifted_left(value: Integers, bits: int) -> Integers:
    """``value · 2^bits``, saturated to int32."""
    return np.clip(value << bits, *INT32)


def multiplied(value: Integers, by: Multiplier) -> Integers:
    """``value`` times a multiplier, rounded twice; ``value · 2^left`` must fit int32."""
    return shifted_right(doubling_high(value << by.left, by.value), by.right)


def reduced_multiplier(by: Multiplier) -> int:
    """The 15 bits of a multiplier that multiply a 64-bit accumulator (int16 activations)."""
    return min((by.value + 2**15) >> 16, 2**15 - 1)


def multiplied_wide(value: Integers, by: Multiplier) -> Integers:
    """A 64-bit accumulator times a multiplier of 15 bits, rounded once, ties towards +∞.

    The kernels for int16 activations and int64 biases do so. ``value`` has at most 48 bits.
    """
    total = 15 - by.shift
    return (value * reduced_multiplier(by) + (1 << (total - 1))) >> total


def activation_range(
    activation: str, dtype: str, scale: float, zero_point: int
) -> tuple[int, int] | None:
    """Lowest and highest stored value after a fused activation; None for one that is unknown."""
    low, high = LIMITS[dtype]
    match activation:
        case "NONE":
            return low, high
        case "RELU":
            return max(low, zero_point), high
        case "RELU6":
            six = zero_point + stored(6.0, scale)
            return max(low, zero_point), min(high, six)
        case "RELU_N1_TO_1":
            one = stored(1.0, scale)
            return max(low, zero_point - one), min(high, zero_point + one)
    return None


def stored(real: float, scale: float) -> int:
    """``real / scale`` in float32, rounded to nearest, ties away from zero; ``real`` ≥ 0."""
    ratio = np.float32(real) / np.float32(scale)
    return _round_half_away(float(ratio))
