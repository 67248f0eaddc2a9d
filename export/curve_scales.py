"""Input scales of int8 logistic and tanh on which TFLM and LiteRT agree.

TFLM computes both in fixed point, LiteRT rounds the real function. For some scales an entry of the
256 differs by one step, which a recurrence would carry on. A scale a hair wider agrees.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import numpy.typing as npt

from export.c.curves import logistic_s8, tanh_s8

Curve = Literal["logistic", "tanh"]

WIDENING = 5e-4  # a twentieth of a step at the end of the range
MOST_WIDENINGS = 200  # never needed: random scales took 80 at most
LARGEST_SCALE = {"logistic": 4.0, "tanh": 8.0}  # from which TFLM's fixed point is wrong


def agreeing_scale(scale: float, zero_point: int, curves: Collection[Curve]) -> float:
    """``scale`` or the next wider one for which both compute the same for every stored value.

    Where there is none nearby the result is ``scale``; the gate ``bit-exact`` will tell.
    """
    for widenings in range(MOST_WIDENINGS):
        wider = float(np.float32(scale * (1.0 + widenings * WIDENING)))
        if all(_agree(curve, wider, zero_point) for curve in curves):
            return wider
    return scale


def _agree(curve: Curve, scale: float, zero_point: int) -> bool:
    if scale >= LARGEST_SCALE[curve]:
        return False
    fixed_point = logistic_s8 if curve == "logistic" else tanh_s8
    return np.array_equal(fixed_point(scale, zero_point), rounded_curve(curve, scale, zero_point))


def rounded_curve(curve: Curve, scale: float, zero_point: int) -> npt.NDArray[np.int8]:
    """What LiteRT's reference kernels store for every int8 value −128 … 127, in float32 as they
    compute it, halves rounded away from zero."""
    real = np.float32(scale) * (np.arange(-128, 128) - zero_point).astype(np.float32)
    one = np.float32(1.0)
    if curve == "logistic":
        with np.errstate(over="ignore"):  # 1 / (1 + ∞) is the 0 that is meant
            value = one / (one + np.exp(-real)) * np.float32(256.0)
        zero = -128
    else:
        value, zero = np.tanh(real) * np.float32(128.0), 0
    rounded = np.copysign(np.floor(np.abs(value) + np.float32(0.5)), value)
    return np.clip(rounded + zero, -128, 127).astype(np.int8)
