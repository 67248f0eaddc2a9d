"""Bands of hearing: every band has a bin, ones stay ones, the scales are those of the papers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.bands import BandLayer, Bands, centres, check_bands, compression, expansion
from runtime.stft import StftContract
from targets.errors import InputError


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Bands, int]:
    bins = draw(st.sampled_from([32, 128, 256, 257]))
    count = draw(st.integers(2, bins))
    spacing = draw(st.sampled_from([15.625, 31.25, 62.5]))
    return Bands(kind=draw(st.sampled_from(["erb", "mel"])), count=count, bin_hz=spacing), bins


@settings(max_examples=60, deadline=None)
@given(layout=layouts())
def test_any_number_of_bands_up_to_that_of_bins_is_laid_out(layout: tuple[Bands, int]) -> None:
    bands, bins = layout
    to_bins, to_bands = expansion(bands, bins), compression(bands, bins)
    assert to_bins.shape == (bins, bands.count)
    assert to_bands.shape == (bands.count, bins)
    assert to_bins.min() >= 0.0
    np.testing.assert_allclose(to_bins.sum(axis=1), 1.0)
    np.testing.assert_allclose(to_bands.sum(axis=1), 1.0)
    assert (to_bins.sum(axis=0) > 0.0).all()
    middles = centres(bands, bins)
    assert middles[0] == 0.0
    assert middles[-1] == pytest.approx(bins - 1)
    assert np.diff(middles).min() >= 1.0 - 1e-6
    # Widths grow with frequency, or stay at one bin.
    assert np.diff(middles, n=2).min(initial=0.0) >= -1e-6


def test_as_many_bands_as_bins_change_nothing() -> None:
    np.testing.assert_allclose(expansion(Bands(count=64), 64), np.eye(64), atol=1e-9)


def test_upper_bands_are_equally_spaced_on_the_published_scales() -> None:
    # 1 kHz is ERB number 15.6 (Glasberg and Moore 1990) and 1000 mel (O'Shaughnessy 1987).
    for kind, at_1_khz, factor, rate in (
        ("erb", 15.6, 21.4, 0.00437),
        ("mel", 1000.0, 2595.0, 1 / 700.0),
    ):
        assert factor * np.log10(1 + rate * 1000.0) == pytest.approx(at_1_khz, rel=3e-3)
        bands = Bands.model_validate({"kind": kind, "count": 64, "linear_below_hz": 1_000.0})
        hertz = centres(bands, 256) * 31.25
        steps = np.diff(factor * np.log10(1.0 + rate * hertz[32:]))
        np.testing.assert_allclose(steps, steps[0])
        np.testing.assert_allclose(np.diff(hertz[:32]), 31.25)


def test_the_linear_part_is_as_small_as_the_resolution_allows() -> None:
    middles = centres(Bands(count=64), 256)
    linear = int(np.sum(np.diff(middles) < 1.0 + 1e-6))
    lower = Bands(count=64, linear_below_hz=(linear - 1) * 31.25)
    with pytest.raises(ValueError, match="too many"):
        centres(lower, 256)


@pytest.mark.parametrize(
    ("bands", "reason"),
    [
        (Bands(count=300), "cannot have a bin each"),
        (Bands(count=64, linear_below_hz=0.0), "leave linear_below_hz out"),
        (Bands(count=16, linear_below_hz=1_000.0), "too few"),
    ],
)
def test_impossible_layouts_are_refused(bands: Bands, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        centres(bands, 256)


def test_bands_for_another_contract_are_refused_with_the_right_spacing() -> None:
    contract = StftContract()
    check_bands(None, contract)
    check_bands(Bands(), contract)
    with pytest.raises(InputError) as caught:
        check_bands(Bands(bin_hz=62.5), contract)
    assert "bin_hz: 31.25" in caught.value.hint


def test_the_layer_averages_into_bands_and_spreads_masks_of_ones_as_ones() -> None:
    layer = BandLayer(Bands(count=32), 256)
    assert list(layer.parameters()) == []
    assert layer.state_dict() == {}
    ones = torch.ones(2, 3, 4, 256)
    torch.testing.assert_close(layer.compress(ones), torch.ones(2, 3, 4, 32))
    torch.testing.assert_close(layer.expand(torch.ones(2, 2, 4, 32)), torch.ones(2, 2, 4, 256))
