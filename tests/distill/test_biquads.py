"""Filter sections against scipy's frequency response and filter, and their known gains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt, sosfreqz

from distill import biquads
from distill.biquads import Sections
from distill.corpus import SAMPLE_RATE


def gain_db(sections: Sections, frequency: float) -> float:
    """By scipy, at one frequency (Hz)."""
    _, response = sosfreqz(sections, [frequency], fs=SAMPLE_RATE)
    return 20.0 * float(np.log10(np.abs(response[0])))


@settings(deadline=None)  # the machine may be busy
@given(st.floats(80.0, 5000.0), st.floats(-12.0, 12.0), st.floats(0.4, 2.0))
def test_a_peak_has_its_gain_at_its_frequency_and_none_far_away(
    frequency: float, gain: float, quality: float
) -> None:
    sections = biquads.peak(frequency, gain, quality)
    assert gain_db(sections, frequency) == pytest.approx(gain, abs=1e-6)
    assert gain_db(sections, 0.0) == pytest.approx(0.0, abs=1e-6)
    assert gain_db(sections, SAMPLE_RATE / 2) == pytest.approx(0.0, abs=1e-6)


@settings(deadline=None)  # the machine may be busy
@given(st.floats(80.0, 6000.0), st.floats(-12.0, 12.0))
def test_shelves_reach_their_gain_on_their_side_and_half_of_it_between(
    frequency: float, gain: float
) -> None:
    low, high = biquads.low_shelf(frequency, gain), biquads.high_shelf(frequency, gain)
    ends = (0.0, SAMPLE_RATE / 2)
    assert [gain_db(low, f) for f in ends] == pytest.approx([gain, 0.0], abs=1e-6)
    assert [gain_db(high, f) for f in ends] == pytest.approx([0.0, gain], abs=1e-6)
    assert gain_db(low, frequency) == pytest.approx(gain / 2, abs=1e-6)
    assert gain_db(high, frequency) == pytest.approx(gain / 2, abs=1e-6)


@settings(deadline=None)  # the machine may be busy
@given(st.floats(20.0, 7900.0))
def test_passes_are_scipys_butterworth_filters(frequency: float) -> None:
    for make, kind in ((biquads.high_pass, "high"), (biquads.low_pass, "low")):
        theirs = butter(2, frequency, kind, fs=SAMPLE_RATE, output="sos")
        assert np.allclose(make(frequency), theirs, rtol=1e-7, atol=1e-10)


@settings(deadline=None)  # the machine may be busy
@given(st.floats(-12.0, 12.0))
def test_a_tilt_turns_about_its_pivot(gain: float) -> None:
    sections = biquads.tilt(1000.0, gain)
    assert gain_db(sections, 0.0) == pytest.approx(-gain / 2, abs=1e-6)
    assert gain_db(sections, 1000.0) == pytest.approx(0.0, abs=1e-6)
    assert gain_db(sections, SAMPLE_RATE / 2) == pytest.approx(gain / 2, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(20.0, 150.0), st.floats(-12.0, 12.0), st.floats(-12.0, 12.0))
def test_the_short_response_filters_as_scipy_does(edge: float, low: float, middle: float) -> None:
    sections = np.concatenate(
        [
            biquads.high_pass(edge),
            biquads.low_shelf(100.0, low),
            biquads.peak(700.0, middle, 1.2),
            biquads.low_pass(6000.0),
        ]
    )
    sound = np.random.default_rng(0).standard_normal(8000)
    expected = sosfilt(sections, sound)
    got = np.convolve(sound, biquads.impulse_response(sections))[: len(sound)]
    error = np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2))
    assert error < 1e-4  # −80 dB
    # A filter that was altered by a tenth of a decibel would be noticed.
    altered = np.concatenate([sections, biquads.peak(700.0, 0.1, 0.5)])
    wrong = sosfilt(altered, sound)
    assert np.sqrt(np.mean((wrong - expected) ** 2) / np.mean(expected**2)) > 1e-3
