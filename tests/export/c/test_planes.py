"""Sums of int8 as one plane: what is found gives every result, and fits 32 bits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from export.c.planes import Plane, plane_of

LOWEST = st.integers(-128, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 2**15), st.integers(-(2**15), 2**15), st.integers(-(2**20), 2**20), LOWEST)
def test_a_plane_is_found_again(first: int, second: int, offset: int, low: int) -> None:
    results = Plane(first, second, offset, 12).results((low, 127))
    ideal = (first / 2**12, second / 2**12, offset / 2**12)
    plane = plane_of(results, ideal, (low, 127))
    assert plane is not None
    assert plane.fits
    assert np.array_equal(plane.results((low, 127)), results)


def test_no_plane_goes_through_a_result_beside_it() -> None:
    limits = (-128, 127)
    results = Plane(2900, 3700, 2048, 12).results(limits)
    results[130, 128] += 1
    assert plane_of(results, (2900 / 2**12, 3700 / 2**12, 0.5), limits) is None


def test_sums_that_leave_32_bits_do_not_fit() -> None:
    assert Plane(2**23, 2**22, 2**28, 20).fits
    assert not Plane(2**23, 2**23, 0, 20).fits
    assert not Plane(2**22, 2**22, 2**30, 20).fits
