"""What a study may claim: means over seeds, paired tests, and the noise floor below all of it.

Scores are arrays ``[seeds, utterances]``; every score counts upwards (higher is better). A
difference is method minus control, of the same seeds and the same utterances.

Three questions are asked of a difference, and it is called better or worse only when all three
say so:

* Is it larger than what two runs of one cell differ by (:class:`NoiseFloor`)?
* Do the seeds agree: does the t interval over the paired seeds leave out zero?
* Do the utterances agree: Wilcoxon's signed-rank test, corrected after Holm for all comparisons?
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Interval = tuple[float, float]
Verdict = Literal["better", "worse", "not distinguishable"]

LEVEL = 0.95
RESAMPLES = 5000
MOST_EXACT_SEEDS = 16  # sign patterns are enumerated up to here: 65,536 of them


@dataclass(frozen=True)
class MeanStd:
    """Mean over runs and standard deviation (n − 1), which needs two of them."""

    mean: float
    std: float | None
    runs: int


@dataclass(frozen=True)
class NoiseFloor:
    """What runs differ by that differ in nothing that should matter.

    ``deviation`` is the root mean square of the differences between two runs of one cell, ``pairs``
    how many were measured, ``largest`` the largest of them, ``runs`` over how many runs each of the
    compared means is taken. ``limit``: 95 % of the differences between two such means stay below.
    """

    deviation: float
    pairs: int
    largest: float
    runs: int
    limit: float


@dataclass(frozen=True)
class Comparison:
    """A method against the control; None where there are too few seeds or utterances to say.

    ``interval`` is the bootstrap's, over seeds and utterances, ``seed_interval`` Student's over the
    paired seeds. ``sign_p`` comes from flipping the signs of the seeds' differences in every way
    there is; ``smallest_sign_p`` is the least it can be with so many seeds.
    """

    difference: float
    seeds: int
    utterances: int
    interval: Interval
    wilcoxon_p: float
    holm_p: float
    seed_interval: Interval | None
    seed_p: float | None
    sign_p: float | None
    smallest_sign_p: float | None
    floor: float | None
    verdict: Verdict
    reason: str


def mean_std(values: Sequence[float]) -> MeanStd:
    """Of at least one value."""
    array = np.asarray(values, dtype=np.float64)
    std = float(array.std(ddof=1)) if len(array) > 1 else None
    return MeanStd(float(array.mean()), std, len(array))


def noise_floor(differences: Sequence[float], runs: int) -> NoiseFloor | None:
    """The floor for differences of means over ``runs`` runs; None where no pair was measured.

    A difference of two runs of one cell has the expectation 0, so its variance is estimated by the
    mean of the squares with one degree of freedom per pair; the limit is
    t(0.975, pairs) · deviation / √runs.
    """
    if not differences or runs < 1:
        return None
    array = np.asarray(differences, dtype=np.float64)
    deviation = float(np.sqrt(np.mean(array**2)))
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2.0, len(array)))
    return NoiseFloor(
        deviation=deviation,
        pairs=len(array),
        largest=float(np.abs(array).max()),
        runs=runs,
        limit=quantile * deviation / math.sqrt(runs),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def wilcoxon_p(differences: Array) -> float:
    """Two-sided signed-rank test of ``[utterances]`` differences; 1 where all of them are zero."""
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def crossed_bootstrap(differences: Array, seed: int = 0) -> Interval:
    """95 % percentile interval of the mean of ``[seeds, utterances]``.

    All seeds are scored on the same utterances, so seeds and utterances are drawn independently of
    each other (the crossed or "pigeonhole" bootstrap, Owen 2007). Few seeds make it too narrow:
    the t interval over the seeds stands beside it.
    """
    seeds, utterances = differences.shape
    rng = np.random.default_rng(seed)
    rows = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), RESAMPLES)
    columns = rng.multinomial(utterances, np.full(utterances, 1.0 / utterances), RESAMPLES)
    means = np.einsum("bu,bu->b", rows @ differences, columns) / (seeds * utterances)
    low, high = np.quantile(means, [0.5 - LEVEL / 2.0, 0.5 + LEVEL / 2.0])
    return float(low), float(high)


def seed_interval(differences: Array) -> tuple[Interval, float] | None:
    """95 % t interval of the mean of ``[seeds]`` and its two-sided p; None below two seeds."""
    if len(differences) < 2:
        return None
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    if error == 0.0:  # the same difference for every seed
        return (mean, mean), (1.0 if mean == 0.0 else 0.0)
    freedom = len(differences) - 1
    half = float(stats.t.ppf(0.5 + LEVEL / 2.0, freedom)) * error
    return (mean - half, mean + half), float(2.0 * stats.t.sf(abs(mean) / error, freedom))


def sign_flip_p(differences: Array) -> tuple[float, float] | None:
    """Exact p of ``[seeds]`` differences under flips of their signs, and the least it can be.

    None below two seeds, and for so many that the patterns cannot be enumerated.
    """
    count = len(differences)
    if not 2 <= count <= MOST_EXACT_SEEDS:
        return None
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
    sums = np.abs(signs @ differences)
    reached = sums >= abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    return float(reached.mean()), 2.0 / 2**count


def compare(method: Array, control: Array, floor: NoiseFloor | None) -> Comparison | None:
    """A method against the control, both ``[seeds, utterances]``, seeds and utterances paired.

    An utterance that lacks a score (NaN) in any run is left out; None where none is left. The
    p-value of the utterances is corrected by :func:`correct`, and the verdict given there.
    """
    differences = method - control
    differences = differences[:, ~np.isnan(differences).any(axis=0)]
    if not differences.size:
        return None
    of_seeds = differences.mean(axis=1)
    student, flips = seed_interval(of_seeds), sign_flip_p(of_seeds)
    p = wilcoxon_p(differences.mean(axis=0))
    return Comparison(
        difference=float(differences.mean()),
        seeds=differences.shape[0],
        utterances=differences.shape[1],
        interval=crossed_bootstrap(differences),
        wilcoxon_p=p,
        holm_p=p,
        seed_interval=None if student is None else student[0],
        seed_p=None if student is None else student[1],
        sign_p=None if flips is None else flips[0],
        smallest_sign_p=None if flips is None else flips[1],
        floor=None if floor is None else floor.limit,
        verdict="not distinguishable",
        reason="",
    )


def correct(family: Sequence[Comparison]) -> list[Comparison]:
    """Correct the utterances' p-values of all comparisons of one metric, and give the verdicts."""
    adjusted = holm([comparison.wilcoxon_p for comparison in family])
    corrected = [
        replace(comparison, holm_p=p) for comparison, p in zip(family, adjusted, strict=True)
    ]
    return [_judged(comparison) for comparison in corrected]


def _judged(comparison: Comparison) -> Comparison:
    reason = _doubt(comparison)
    if reason:
        return replace(comparison, verdict="not distinguishable", reason=reason)
    return replace(comparison, verdict="better" if comparison.difference > 0.0 else "worse")


def _doubt(comparison: Comparison) -> str:
    """The first reason not to believe a difference, or nothing."""
    if comparison.floor is None:
        return "no noise floor was measured"
    if abs(comparison.difference) <= comparison.floor:
        return "below the noise floor"
    if comparison.seed_interval is None:
        return "one seed only"
    low, high = comparison.seed_interval
    if low <= 0.0 <= high:
        return "the seeds disagree"
    if comparison.holm_p >= 1.0 - LEVEL:
        return "the utterances disagree"
    return ""
