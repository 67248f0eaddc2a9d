"""Means with bootstrap intervals, overall and in groups, and paired differences between rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.evaluation.material import Item
from distill.evaluation.scoring import Row
from runtime.metrics import columns_of

_CHUNK = 1 << 22  # indices drawn at once


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: percentile bootstrap over items (Efron and Tibshirani 1993)."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A mean over ``items`` scores and its interval; None where there is nothing to judge by."""

    mean: float | None
    low: float | None
    high: float | None
    items: int

    @property
    def holds_zero(self) -> bool:
        """Whether a difference cannot be told from none."""
        return self.low is None or self.high is None or self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Line:
    """A row's estimates by field of the scores."""

    name: str
    parameters: int | None
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Section:
    """The lines of one group of items."""

    group: str
    items: int
    lines: tuple[Line, ...]


def estimate(values: Sequence[float | None], how: Resampling) -> Estimate:
    """Mean of what was measured, with its interval where there are two items or more."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return Estimate(None, None, None, 0)
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return Estimate(mean, None, None, 1)
    means = np.concatenate([known[drawn].mean(axis=1) for drawn in _draws(len(known), how)])
    tail = 100.0 * (1.0 - how.confidence) / 2.0
    low, high = np.percentile(means, (tail, 100.0 - tail))
    return Estimate(mean, float(low), float(high), len(known))


def overall(rows: Sequence[Row], how: Resampling) -> Section:
    """All items."""
    return _section("all", rows, range(len(rows[0].items)), how)


def by_group(
    rows: Sequence[Row], items: Sequence[Item], by: str, how: Resampling
) -> tuple[Section, ...]:
    """Items in buckets of 5 dB (``by`` "snr", lowest first) or by type of noise ("noise")."""
    places: dict[str, list[int]] = {}
    ordered = sorted(
        range(len(items)),
        key=lambda i: items[i].mixture.snr_db if by == "snr" else items[i].noise_type,
    )
    for index in ordered:
        group = items[index].snr_bucket if by == "snr" else items[index].noise_type
        places.setdefault(group, []).append(index)
    return tuple(_section(group, rows, chosen, how) for group, chosen in places.items())


def differences(rows: Sequence[Row], reference: Row, how: Resampling) -> Section:
    """Each other row minus ``reference``, item by item over the items that both have."""
    others = [row for row in rows if row is not reference]
    lines = []
    for row in others:
        estimates = {}
        for column in columns_of(row.metrics):
            pairs = zip(_values(row, column.field), _values(reference, column.field), strict=True)
            gains = [None if a is None or b is None else a - b for a, b in pairs]
            estimates[column.field] = estimate(gains, how)
        lines.append(Line(row.name, row.parameters, estimates))
    return Section(reference.name, len(reference.items), tuple(lines))


def _section(group: str, rows: Sequence[Row], chosen: Sequence[int], how: Resampling) -> Section:
    lines = []
    for row in rows:
        estimates = {}
        for column in columns_of(row.metrics):
            values = _values(row, column.field)
            estimates[column.field] = estimate([values[index] for index in chosen], how)
        lines.append(Line(row.name, row.parameters, estimates))
    return Section(group, len(chosen), tuple(lines))


def _values(row: Row, field: str) -> list[float | None]:
    return [getattr(item, field) for item in row.items]


def _draws(number: int, how: Resampling) -> Iterator[npt.NDArray[np.int64]]:
    """Indices ``[some, number]`` of items drawn with replacement; the same for the same number."""
    rng = np.random.Generator(np.random.PCG64(how.seed))
    at_once = max(1, _CHUNK // number)
    for start in range(0, how.resamples, at_once):
        yield rng.integers(0, number, (min(at_once, how.resamples - start), number))
