"""Percentiles of known durations, and intervals that deserve their confidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from runtime.timing import Durations, distribution, ratio_of_medians

SHAPES = st.tuples(st.integers(2, 12), st.integers(1, 8))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Durations, Durations]:
    """Durations of two contestants over the same rounds."""
    shape = draw(SHAPES)
    of_shape = npst.arrays(np.int64, shape, elements=st.integers(0, 10**7))
    return draw(of_shape), draw(of_shape)


def test_percentiles_of_known_durations() -> None:
    durations = np.arange(1, 101, dtype=np.int64).reshape(4, 25) * 1_000
    found = distribution(durations)
    assert (found.count, found.rounds) == (100, 4)
    assert (found.least, found.greatest) == (1.0, 100.0)
    assert found.median == 50.5
    assert found.p95 == pytest.approx(95.05)
    assert found.p99 == pytest.approx(99.01)
    assert (found.calmest, found.busiest) == (13.0, 88.0)


@given(pairs())
@settings(deadline=None, max_examples=40)
def test_an_interval_holds_its_ratio_and_repeats(pair: tuple[Durations, Durations]) -> None:
    value, low, high = ratio_of_medians(*pair)
    assert 0.0 < low <= value <= high < np.inf
    assert ratio_of_medians(*pair) == (value, low, high)


@given(npst.arrays(np.int64, SHAPES, elements=st.integers(1, 10**6)), st.integers(2, 5))
@settings(deadline=None, max_examples=25)
def test_what_slows_both_down_cancels(durations: Durations, factor: int) -> None:
    """The same rounds are drawn for both: their drift does not widen the interval."""
    assert ratio_of_medians(factor * durations, durations) == (factor, factor, factor)


def test_constant_durations_leave_no_doubt() -> None:
    slow, fast = np.full((8, 50), 300, np.int64), np.full((8, 50), 200, np.int64)
    assert ratio_of_medians(slow, fast) == (1.5, 1.5, 1.5)
    assert ratio_of_medians(np.zeros((3, 4), np.int64), fast[:3])[0] == 1 / 200


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        drift = generator.uniform(0.8, 1.6, (40, 1))
        noise = generator.lognormal(0.0, 0.05, (2, 40, 20))
        slow, fast = (1e5 * drift * noise * np.array([1.2, 1.0])[:, None, None]).astype(np.int64)
        _, low, high = ratio_of_medians(slow, fast)
        covered += low <= 1.2 <= high
        assert high - low < 0.2
    assert covered >= 50


@pytest.mark.parametrize(("first", "second"), [(1, 1), (0, 0), (3, 4)])
def test_rounds_that_say_nothing_are_refused(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="rounds"):
        ratio_of_medians(np.ones((first, 5), np.int64), np.ones((second, 5), np.int64))
