"""Statistics of durations: percentiles, and ratios with the confidence they deserve."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95
SEED: Final = 0

Durations = npt.NDArray[np.int64]  # nanoseconds, [rounds, hops of a round]


class Distribution(BaseModel):
    """Percentiles of durations, in µs, and the least and greatest median of a round."""

    model_config = ConfigDict(frozen=True)

    count: int
    rounds: int
    least: float
    median: float
    p95: float
    p99: float
    greatest: float
    calmest: float  # median of a round
    busiest: float


class Interval(NamedTuple):
    """A value and the bounds of its confidence interval."""

    value: float
    low: float
    high: float


def distribution(durations: Durations) -> Distribution:
    """What the durations ``[rounds, hops]`` in nanoseconds come to."""
    micros = durations / 1_000.0
    least, median, p95, p99, greatest = np.percentile(micros, (0, 50, 95, 99, 100))
    of_rounds = np.median(micros, axis=1)
    return Distribution(
        count=durations.size,
        rounds=len(durations),
        least=least,
        median=median,
        p95=p95,
        p99=p99,
        greatest=greatest,
        calmest=of_rounds.min(),
        busiest=of_rounds.max(),
    )


def ratio_of_medians(slower: Durations, faster: Durations) -> Interval:
    """Median of ``slower`` over that of ``faster``, both ``[rounds, hops]`` of the same rounds.

    The interval is that of a percentile bootstrap (B. Efron, "Bootstrap methods: another look at
    the jackknife", Ann. Statist. 7(1), 1979) which draws whole rounds, since durations of one round
    are not independent, and draws the same rounds for both, since what slowed one down will have
    slowed the other. Seeded: the same durations give the same interval. Raises ValueError for
    less than two rounds, or other numbers of rounds.
    """
    if len(slower) != len(faster) or len(slower) < 2:
        raise ValueError(f"{len(slower)} and {len(faster)} rounds: at least two, and as many")
    # A clock that ticks coarsely may have seen no time pass.
    slower, faster = np.maximum(slower, 1), np.maximum(faster, 1)
    value = float(np.median(slower) / np.median(faster))
    rounds = len(slower)
    drawn = np.random.default_rng(SEED).multinomial(
        rounds, np.full(rounds, 1.0 / rounds), size=RESAMPLES
    )
    ratios = _medians_of_draws(slower, drawn) / _medians_of_draws(faster, drawn)
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = (float(bound) for bound in np.percentile(ratios, (tail, 100.0 - tail)))
    return Interval(value, min(low, value), max(high, value))


def _medians_of_draws(durations: Durations, drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The lower median of each resample; ``drawn`` ``[resamples, rounds]`` counts the rounds."""
    order = np.argsort(durations, axis=None, kind="stable")
    values, owners = durations.reshape(-1)[order], order // durations.shape[1]
    middle = (durations.size + 1) // 2
    places = [np.searchsorted(np.cumsum(counts[owners]), middle) for counts in drawn]
    return values[places]
