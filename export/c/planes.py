"""Sums of two int8 values as one plane: result = (first·a + second·b + c) >> shift, saturated.

TFLM rounds an ADD or SUB three times. Its 65,536 possible results nevertheless lie so close to a
plane that integers can nearly always be found for which one shift gives every one of them. They
are searched here and proved on all pairs; where none are found, the kernels round as TFLM does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.c.arithmetic import Integers

VALUES = np.arange(-128, 128, dtype=np.int64)
LARGEST_SHIFT = 24
TRIED_SHIFTS = 3  # from the largest that fits downwards
NEAR = 2.0**-7  # of a step between two results: other pairs do not decide


@dataclass(frozen=True)
class Plane:
    first: int
    second: int
    offset: int
    shift: int

    @property
    def fits(self) -> bool:
        """No part of a sum leaves 32 bits, in any order of adding."""
        return 128 * (abs(self.first) + abs(self.second)) + abs(self.offset) < 2**31

    def results(self, limits: tuple[int, int]) -> Integers:
        """``[256, 256]``: the result of every pair of stored values."""
        sums = self.first * VALUES[:, None] + self.second * VALUES + self.offset
        return np.clip(sums >> self.shift, *limits)


def plane_of(
    results: Integers, ideal: tuple[float, float, float], limits: tuple[int, int]
) -> Plane | None:
    """The plane through ``results`` ``[256, 256]``, if one is found.

    ``ideal`` is the plane of the unrounded results plus one half: what a step of either input
    adds, and the height at 0, 0. Results at a limit may be anything beyond it.
    """
    largest, deciding = _largest_shift(ideal), _deciding(results, ideal, limits)
    for shift in range(largest, max(largest - TRIED_SHIFTS, 0), -1):
        wanted = round(ideal[2] * 2.0**shift)
        for first, second in _candidates(ideal, shift):
            least, most = deciding.offsets(first, second, shift)
            if least > most:
                continue
            plane = Plane(first, second, min(max(wanted, least), most), shift)
            if plane.fits and np.array_equal(plane.results(limits), results):
                return plane
    return None


@dataclass(frozen=True)
class _Deciding:
    """Pairs whose result changes a step beside them: above from below, below from above."""

    above: tuple[Integers, Integers, Integers]  # first, second, result: it must reach this
    below: tuple[Integers, Integers, Integers]  # it must stay below the next one

    def offsets(self, first: int, second: int, shift: int) -> tuple[int, int]:
        """The least and the most that may be added to the sums of the pairs."""
        x, y, result = self.above
        least = ((result << shift) - first * x - second * y).max(initial=-(2**31))
        x, y, result = self.below
        most = ((result + 1 << shift) - 1 - first * x - second * y).min(initial=2**31)
        return int(least), int(most)


def _deciding(
    results: Integers, ideal: tuple[float, float, float], limits: tuple[int, int]
) -> _Deciding:
    over = (
        ideal[0] * VALUES[:, None] + ideal[1] * VALUES - results
    )  # how far a pair is beyond its result, but for a constant
    reach, stay = results > limits[0], results < limits[1]
    lowest, highest = over[reach].min(initial=np.inf), over[stay].max(initial=-np.inf)
    return _Deciding(
        _pairs(results, reach & (over <= lowest + NEAR)),
        _pairs(results, stay & (over >= highest - NEAR)),
    )


def _pairs(results: Integers, chosen: npt.NDArray[np.bool_]) -> tuple[Integers, Integers, Integers]:
    first, second = np.nonzero(chosen)
    return VALUES[first], VALUES[second], results[chosen]


def _largest_shift(ideal: tuple[float, float, float]) -> int:
    """The largest with which no part of a sum overflows."""
    shift, height = LARGEST_SHIFT, 128 * (abs(ideal[0]) + abs(ideal[1])) + abs(ideal[2]) + 1
    while height * 2.0**shift >= 2.0**31:
        shift -= 1
    return shift


def _candidates(ideal: tuple[float, float, float], shift: int) -> Iterator[tuple[int, int]]:
    """Integers near the slopes, nearest first, and such as are a little steeper in both."""
    first, second = (round(slope * 2.0**shift) for slope in ideal[:2])
    near = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
    for i, j in sorted(near, key=lambda step: abs(step[0]) + abs(step[1])):
        yield first + i, second + j
    steepest = max(abs(slope) for slope in ideal[:2])
    for step in (4, -4, 8, -8, 16, -16):
        rise = [round(step * slope / steepest) for slope in ideal[:2]]
        yield first + rise[0], second + rise[1]
