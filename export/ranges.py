"""Which part of what a tensor held its 8 bits shall cover.

The true extremes clip nothing. A percentile gives up the rarest values, and the least mean square
error weighs what clipping costs against what a finer step gains.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from export.calibration import Calibration, Range
from export.histogram import Histogram
from targets.errors import InputError

Method = Literal["minmax", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT_PERCENTILE = 99.99
STEPS = 255  # of an int8 tensor, from the lowest to the highest value
CANDIDATES = 128  # limits that are tried on either side of zero


def choose_ranges(
    calibration: Calibration, method: Method, percentile: float = DEFAULT_PERCENTILE
) -> Calibration:
    """The same calibration with int8 ranges by ``method``; int16 tensors keep the true extremes.

    ``percentile`` (between 50 and 100) is that of either end: 99.99 gives up one value in 10,000
    above and as many below. Raises InputError for another percentile.
    """
    extremes = dict(calibration.reached)
    if method == "minmax":
        return replace(calibration, ranges=extremes, extremes={}, method=method)
    if not 50.0 < percentile <= 100.0:
        raise InputError(
            f"A percentile must lie between 50 and 100 (it is {percentile:g}).",
            hint="99.99 gives up one value in 10,000 at either end.",
        )
    if not calibration.histograms:
        raise ValueError("these ranges need a calibration with histograms")
    ranges = {}
    for name, extreme in extremes.items():
        histogram = calibration.histograms[name]
        found = (
            percentile_range(histogram, percentile)
            if method == "percentile"
            else least_error_range(histogram)
        )
        ranges[name] = max(found[0], extreme[0]), min(found[1], extreme[1])
    label = f"{method} {percentile:g}" if method == "percentile" else method
    return replace(calibration, ranges=ranges, extremes=extremes, method=label)


def percentile_range(histogram: Histogram, percentile: float) -> Range:
    """The bins between which all but the rarest values lie, outer edges."""
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    beyond = (100.0 - percentile) / 100.0
    low = int(np.searchsorted(share, beyond, side="right"))
    high = int(np.searchsorted(share, 1.0 - beyond, side="left"))
    edges = histogram.edges
    return float(edges[low]), float(edges[min(high, len(share) - 1) + 1])


def least_error_range(histogram: Histogram) -> Range:
    """The range, 0 included, with the least mean square error over 255 steps.

    Inside a step of size s values are off by s²/12 on average, outside by their distance from the
    limit.
    """
    counts, centres = histogram.counts.astype(np.float64), histogram.centres
    seen = np.flatnonzero(counts)
    lows = _limits(min(float(histogram.edges[seen[0]]), 0.0))
    highs = _limits(max(float(histogram.edges[seen[-1] + 1]), 0.0))
    above, clipped_above = _clipping(counts, centres, highs)
    below, clipped_below = _clipping(counts[::-1], -centres[::-1], -lows)
    step = (highs[None, :] - lows[:, None]) / STEPS
    inside = counts.sum() - above[None, :] - below[:, None]
    error = inside * np.square(step) / 12.0 + clipped_above[None, :] + clipped_below[:, None]
    row, column = np.unravel_index(np.argmin(error), error.shape)
    return float(lows[row]), float(highs[column])


def _limits(extreme: float) -> npt.NDArray[np.float64]:
    """Candidates from the extreme towards zero; zero alone where there is nothing beyond it."""
    if extreme == 0.0:
        return np.zeros(1)
    return extreme * np.linspace(1.0, 1.0 / CANDIDATES, CANDIDATES)


def _clipping(
    counts: npt.NDArray[np.float64],
    centres: npt.NDArray[np.float64],
    limits: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How many values lie above each limit, and the sum of their squared distances from it."""

    def above(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        sums = np.concatenate((np.cumsum(weights[::-1])[::-1], [0.0]))
        found: npt.NDArray[np.float64] = sums[np.searchsorted(centres, limits, side="right")]
        return found

    number, first, second = above(counts), above(counts * centres), above(counts * centres**2)
    return number, np.maximum(second - 2.0 * limits * first + np.square(limits) * number, 0.0)
