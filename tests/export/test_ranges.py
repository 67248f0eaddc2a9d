from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from export.calibration import Calibration, calibrate
from export.histogram import BINS, Histogram, RunningHistogram
from export.precision import wide_everywhere
from export.quantization import affine_of, quantize_graph
from export.ranges import choose_ranges, least_error_range, percentile_range
from export.simulation import rounded
from export.step_graph import StepGraph
from export.tflite import write_quantized
from runtime.stft import StftContract
from targets.errors import InputError

Signals = list[npt.NDArray[np.float32]]
VALUES = arrays.arrays(
    np.float32,
    st.integers(1, 20),
    elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
)


def _counted(*parts: npt.NDArray[np.float32]) -> Histogram:
    running = RunningHistogram()
    for part in parts:
        running.add(part)
    return running.result()


def _skewed() -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(size=20_000), 0.0).astype(np.float32)


@pytest.fixture(scope="module")
def counted(graph: StepGraph, contract: StftContract, signals: Signals) -> Calibration:
    return calibrate(graph, contract, signals, histograms=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_histogram_counts_every_value_once_in_its_bin(
    parts: list[npt.NDArray[np.float32]],
) -> None:
    histogram = _counted(*parts)
    values = np.concatenate(parts)
    assert histogram.counts.sum() == len(values)
    wanted, _ = np.histogram(values.astype(np.float64), histogram.edges)
    np.testing.assert_array_equal(histogram.counts, wanted)


@settings(max_examples=25, deadline=None)
@given(VALUES, VALUES)
def test_a_histogram_does_not_depend_on_the_order(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]
) -> None:
    left, right = RunningHistogram(), RunningHistogram()
    for running, parts in ((left, (one, other)), (right, (other, one))):
        for part in parts:
            running.add(part)
            running.result()  # counts at once, so that the span really grows in between
    assert left.result().reach == right.result().reach
    np.testing.assert_array_equal(left.result().counts, right.result().counts)


def test_a_percentile_gives_up_the_rarest_values() -> None:
    values = np.concatenate([np.linspace(-1.0, 1.0, 9_998), [50.0, -80.0]]).astype(np.float32)
    low, high = percentile_range(_counted(values), 99.9)
    step = 256.0 / BINS
    assert -1.0 - step <= low <= -0.9
    assert 0.9 <= high <= 1.0 + step
    everything = percentile_range(_counted(values), 100.0)
    assert everything[0] <= -80.0
    assert everything[1] >= 50.0


def test_the_least_error_beats_the_extremes_where_a_value_is_far_off() -> None:
    far = _counted(np.array([100.0], np.float32))
    wide = _counted(_skewed(), np.array([100.0], np.float32))
    often = 2_000  # each value of the bulk for one that is far off
    counts = (wide.counts - far.counts) * often + far.counts
    low, high = least_error_range(replace(wide, counts=counts))
    assert low == 0.0
    assert high < 50.0

    def error(limit: float) -> float:
        grid = affine_of((0.0, limit))
        inside = np.sum(np.square(rounded(_skewed(), grid) - _skewed()))
        return float(often * inside + (100.0 - limit) ** 2)

    assert error(high) < 0.6 * error(100.0)
    assert error(high) < 1.1 * min(error(limit) for limit in np.linspace(1.0, 100.0, 50))


def test_the_least_error_of_a_flat_signal_is_its_extremes() -> None:
    values = np.random.default_rng(0).uniform(-3.0, 1.0, 10_000).astype(np.float32)
    low, high = least_error_range(_counted(values))
    assert low == pytest.approx(-3.0, abs=0.05)
    assert high == pytest.approx(1.0, abs=0.05)


def test_counting_changes_neither_the_ranges_nor_the_file(
    graph: StepGraph, calibration: Calibration, counted: Calibration
) -> None:
    assert counted == calibration
    chosen = choose_ranges(counted, "minmax")
    assert write_quantized(quantize_graph(graph, chosen)) == write_quantized(
        quantize_graph(graph, calibration)
    )


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_chosen_ranges_lie_within_the_extremes(counted: Calibration, method: str) -> None:
    chosen = choose_ranges(counted, "percentile" if method == "percentile" else "mse", 99.0)
    assert chosen.ranges.keys() == counted.ranges.keys()
    for name, (low, high) in chosen.ranges.items():
        assert counted.ranges[name][0] <= low <= high <= counted.ranges[name][1]
    narrower = sum(chosen.ranges[name] != counted.ranges[name] for name in chosen.ranges)
    assert narrower > len(chosen.ranges) // 2
    assert choose_ranges(chosen, "minmax").ranges == counted.ranges


def test_int16_keeps_the_true_extremes(graph: StepGraph, counted: Calibration) -> None:
    wide = wide_everywhere(graph)
    clipped = choose_ranges(counted, "percentile", 90.0)
    assert (
        quantize_graph(graph, clipped, wide).activations
        == quantize_graph(graph, counted, wide).activations
    )


@pytest.mark.parametrize("percentile", [50.0, 0.0, 100.1, float("nan")])
def test_a_percentile_out_of_range_is_refused(counted: Calibration, percentile: float) -> None:
    with pytest.raises(InputError, match="between 50 and 100"):
        choose_ranges(counted, "percentile", percentile)


def test_other_methods_need_histograms(calibration: Calibration) -> None:
    with pytest.raises(ValueError, match="histograms"):
        choose_ranges(replace(calibration, histograms={}), "mse")


@settings(max_examples=25, deadline=None)
@given(VALUES)
def test_any_values_have_a_range(values: npt.NDArray[np.float32]) -> None:
    histogram = _counted(values)
    for low, high in (least_error_range(histogram), percentile_range(histogram, 99.99)):
        assert np.isfinite([low, high]).all()
        assert low <= high
