"""Random filters stay within their settings; clipping reaches its depth exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.signal import sosfreqz

from distill.colouring import Clipping, Equalizer, Microphone, clipped, equalizer, microphone
from distill.corpus import SAMPLE_RATE


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 2**32), st.integers(0, 4))
def test_an_equalizer_is_stable_smooth_and_bounded(seed: int, peaks: int) -> None:
    settings = Equalizer(gain_db=6.0, peaks=peaks)
    sections = equalizer(settings, np.random.default_rng(seed))
    assert sections.shape == (2 + peaks, 6)
    assert all(np.abs(np.roots(section[3:])).max() < 1.0 for section in sections)
    frequencies = np.geomspace(20.0, 7900.0, 400)
    _, response = sosfreqz(sections, frequencies, fs=SAMPLE_RATE)
    gains = 20.0 * np.log10(np.abs(response))
    assert np.abs(gains).max() <= 6.0 * (2 + peaks) + 1e-6
    per_octave = np.abs(np.diff(gains)) / np.diff(np.log2(frequencies))
    assert per_octave.max() < 15.0 * (2 + peaks)


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 2**32))
def test_a_microphone_passes_the_middle_and_stops_the_ends(seed: int) -> None:
    settings = Microphone(high_pass_hz=(100.0, 150.0), low_pass_hz=(4000.0, 5000.0))
    sections = microphone(settings, np.random.default_rng(seed))
    _, response = sosfreqz(sections, [10.0, 1000.0, 7900.0], fs=SAMPLE_RATE)
    low, middle, high = 20.0 * np.log10(np.abs(response))
    assert abs(middle) < 0.1
    assert low < -30.0
    assert high < -30.0


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 2**32), st.floats(0.5, 20.0))
def test_clipping_reaches_its_depth_and_leaves_the_rest_alone(seed: int, depth: float) -> None:
    rng = np.random.default_rng(seed)
    sound = (0.2 * rng.standard_normal(2000)).astype(np.float32)
    result = clipped(Clipping(depth_db=(depth, depth)), rng, sound)
    limit = np.abs(result).max()
    assert 20.0 * np.log10(np.abs(sound).max() / limit) == pytest.approx(depth, abs=1e-4)
    inside = np.abs(sound) < limit
    assert np.array_equal(result[inside], sound[inside])
    assert np.array_equal(np.sign(result), np.sign(sound))


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        (Equalizer, {"probability": 1.5}),
        (Equalizer, {"gain_db": -1.0}),
        (Equalizer, {"colour": 1}),
        (Microphone, {"high_pass_hz": (150.0, 20.0)}),
        (Microphone, {"low_pass_hz": (4000.0, 8000.0)}),
        (Microphone, {"high_pass_hz": (0.0, 20.0)}),
        (Clipping, {"depth_db": (12.0, 1.0)}),
    ],
)
def test_wrong_settings_are_refused(section: Callable[..., Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section(**wrong)
