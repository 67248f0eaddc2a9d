"""Histograms of signals whose range is not known beforehand.

The bins are symmetric around zero and span a power of two. When a value lies outside, the span is
doubled and bins are merged in pairs, which is exact: the result does not depend on the order of
the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 4096  # of the whole span; at least a quarter of them are used by what is seen
SMALLEST_REACH = 2.0**-20
CHUNK = 1 << 16  # values that are counted at once: few calls, and still in the cache


@dataclass(frozen=True)
class Histogram:
    """``counts[i]`` values lay within ``edges[i] … edges[i + 1]``; the span is ±``reach``."""

    counts: npt.NDArray[np.int64] = field(repr=False)
    reach: float

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        return np.linspace(-self.reach, self.reach, len(self.counts) + 1)

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        edges = self.edges
        return 0.5 * (edges[:-1] + edges[1:])


class RunningHistogram:
    """Counts arrays as they come."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._reach = SMALLEST_REACH
        self._waiting: list[npt.NDArray[Any]] = []
        self._size = 0

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count ``values`` of any shape, which the caller must not change afterwards."""
        self._waiting.append(values)
        self._size += values.size
        if self._size >= CHUNK:
            self._count()

    def result(self) -> Histogram:
        """What was counted so far."""
        self._count()
        return Histogram(self._counts.copy(), self._reach)

    def _count(self) -> None:
        if not self._size:
            return
        values = np.concatenate([part.ravel() for part in self._waiting])
        self._waiting, self._size = [], 0
        self._widen(float(max(values.max(), -values.min())))
        # A power of two over a power of two: the product is exact, so is the bin.
        place = (values * np.float32(0.5 * BINS / self._reach)).astype(np.float32)
        index = np.floor(place).astype(np.int32) + BINS // 2
        self._counts += np.bincount(index, minlength=BINS)

    def _widen(self, reach: float) -> None:
        if reach < self._reach:
            return
        wanted = 2.0 ** math.frexp(reach)[1]  # strictly larger: bins hold their lower edge
        while self._reach < wanted:
            merged = self._counts.reshape(-1, 2).sum(axis=1)
            quarter = BINS // 4
            self._counts = np.pad(merged, (quarter, BINS - quarter - len(merged)))
            self._reach *= 2.0
