"""The statistics of studies: exact where they can be, right as often as they claim elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from distill.study_statistics import (
    Array,
    Comparison,
    compare,
    correct,
    crossed_bootstrap,
    holm,
    mean_std,
    noise_floor,
    seed_interval,
    sign_flip_p,
    wilcoxon_p,
)

FINITE = st.floats(-10.0, 10.0, allow_nan=False).map(lambda value: round(value, 6))


def scores(rng: np.random.Generator, effect: float = 0.0, seeds: int = 5) -> Array:
    """``[seeds, utterances]`` differences: runs differ by 0.2, utterances by 1 in one run."""
    of_runs = rng.normal(effect, 0.2, (seeds, 1))
    return of_runs + rng.normal(0.0, 1.0, (seeds, 40)) * 0.3


def judged(differences: Array, repeats: list[float]) -> Comparison:
    floor = noise_floor(repeats, len(differences))
    comparison = compare(differences, np.zeros_like(differences), floor)
    assert comparison is not None
    return correct([comparison])[0]


def test_mean_and_deviation_have_n_minus_one() -> None:
    figures = mean_std([1.0, 2.0, 6.0])
    assert figures.mean == pytest.approx(3.0)
    assert figures.std == pytest.approx(np.sqrt((4 + 1 + 9) / 2))
    assert mean_std([4.0]).std is None


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p and a <= 1.0 for a, p in zip(adjusted, p_values, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0.0)


def test_holm_of_an_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(deadline=None, max_examples=30)
@given(st.lists(FINITE, min_size=2, max_size=8))
def test_seed_intervals_are_those_of_the_paired_t_test(values: list[float]) -> None:
    differences = np.array(values)
    found = seed_interval(differences)
    assert found is not None
    (low, high), p = found
    if np.ptp(differences) > 1e-3:
        test = stats.ttest_1samp(differences, 0.0)
        expected = test.confidence_interval(0.95)
        assert (low, high) == pytest.approx((expected.low, expected.high))
        assert p == pytest.approx(test.pvalue)
    assert low <= differences.mean() + 1e-9
    assert high >= differences.mean() - 1e-9


def test_flips_of_signs_are_exact() -> None:
    assert sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == (2 / 32, 2 / 32)
    # Sums of ±1 ±1 ±1 reach 1 in absolute value in all eight cases.
    assert sign_flip_p(np.array([1.0, 1.0, -1.0])) == (1.0, 0.25)
    assert sign_flip_p(np.array([1.0])) is None


def test_a_bootstrap_of_equal_differences_is_a_point() -> None:
    assert crossed_bootstrap(np.full((5, 12), 0.25)) == pytest.approx((0.25, 0.25))


def test_the_bootstrap_covers_seeds_as_well_as_utterances() -> None:
    rng = np.random.default_rng(0)
    between_seeds = rng.normal(0.0, 1.0, (5, 1)) + np.zeros((5, 200))
    low, high = crossed_bootstrap(between_seeds)
    assert high - low > 0.5  # over utterances alone it would be a point


def test_utterances_without_a_score_are_left_out() -> None:
    method = np.array([[1.0, np.nan, 3.0], [2.0, 2.0, 2.0]])
    comparison = compare(method, np.zeros_like(method), None)
    assert comparison is not None
    assert comparison.utterances == 2
    assert comparison.difference == pytest.approx(2.0)
    assert compare(np.full((2, 3), np.nan), np.zeros((2, 3)), None) is None


def test_equal_scores_are_not_distinguishable() -> None:
    assert wilcoxon_p(np.zeros(10)) == 1.0
    result = judged(np.zeros((5, 10)), [0.1, -0.1])
    assert (result.verdict, result.reason) == ("not distinguishable", "below the noise floor")


def test_the_floor_shrinks_with_the_runs_behind_a_mean() -> None:
    assert noise_floor([], 5) is None
    one, five = noise_floor([0.1, -0.3], 1), noise_floor([0.1, -0.3], 5)
    assert one is not None
    assert five is not None
    assert one.deviation == pytest.approx(np.sqrt(0.05))
    assert one.largest == pytest.approx(0.3)
    assert one.limit == pytest.approx(stats.t.ppf(0.975, 2) * np.sqrt(0.05))
    assert five.limit == pytest.approx(one.limit / np.sqrt(5))


def test_the_floor_holds_as_often_as_it_says() -> None:
    """Of differences of two means of five equal runs, 95 % lie below it."""
    rng = np.random.default_rng(1)
    below = []
    for _ in range(2000):
        pairs = rng.normal(0.0, 0.2, (8, 2))
        floor = noise_floor(list(pairs[:, 1] - pairs[:, 0]), 5)
        assert floor is not None
        means = rng.normal(0.0, 0.2, (5, 2)).mean(axis=0)
        below.append(abs(means[1] - means[0]) < floor.limit)
    assert np.mean(below) == pytest.approx(0.95, abs=0.015)


def test_a_planted_effect_is_found_and_its_sign_told() -> None:
    rng = np.random.default_rng(2)
    repeats = list(rng.normal(0.0, 0.2, 8))
    verdicts = [judged(scores(rng, effect=1.0), repeats).verdict for _ in range(20)]
    assert verdicts.count("better") == 20
    assert judged(scores(rng, effect=-1.0), repeats).verdict == "worse"


def test_without_an_effect_alarms_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The t interval alone is wrong in one of twenty; together with the rest less often."""
    monkeypatch.setattr("distill.study_statistics.RESAMPLES", 10)  # no part in the verdict
    rng = np.random.default_rng(3)
    alarms, intervals, utterances = 0, 0, 0
    for _ in range(250):
        differences = scores(rng)
        result = judged(differences, list(rng.normal(0.0, 0.2, 8)))
        assert result.seed_p is not None
        alarms += result.verdict != "not distinguishable"
        intervals += result.seed_p < 0.05
        utterances += result.wilcoxon_p < 0.05
    assert alarms / 250 <= 0.05
    assert intervals / 250 == pytest.approx(0.05, abs=0.03)
    # Utterances speak of these networks alone: by them half of all nothings would be something.
    assert utterances / 250 > 0.2


@pytest.mark.parametrize(
    ("rows", "repeats", "reason"),
    [
        ([[1.0] * 10, [1.1] * 10], [], "no noise floor was measured"),
        ([[0.1] * 10, [0.11] * 10], [1.0, 1.0], "below the noise floor"),
        ([[1.0] * 10], [0.01, 0.01], "one seed only"),
        ([[3.0] * 10, [-0.5] * 10], [0.01, 0.01], "the seeds disagree"),
        ([[9.0, -4.0] * 3, [9.1, -4.1] * 3], [0.01, 0.01], "the utterances disagree"),
    ],
)
def test_every_doubt_is_told(rows: list[list[float]], repeats: list[float], reason: str) -> None:
    result = judged(np.array(rows), repeats)
    assert (result.verdict, result.reason) == ("not distinguishable", reason)
