"""The fit verdict: limits are met exactly, excess is stated, and what is unknown stays unknown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.catalog import load_target
from targets.fit import FitLine, FitReport, arena_with_margin, fit_verdict
from targets.needs import Needs

DEMAND: dict[str, Any] = {
    "format": "tflite-int8",
    "constant_bytes": 90_000,
    "macs_per_step": 100_000,
    "parameters": 80_000,
    "arena_bytes": 16_000,
    "operators": ("CONV_2D", "ADD"),
    "hop_samples": 256,
    "sample_rate": 16_000,
    "algorithmic_delay": 512,
}


def _report(target: str, **changes: Any) -> FitReport:
    return fit_verdict(load_target(target), Needs(**{**DEMAND, **changes}))


def _line(target: str, budget: str, **changes: Any) -> FitLine:
    return next(line for line in _report(target, **changes).lines if line.budget == budget)


def test_flash_at_and_beyond_its_limit() -> None:
    assert _line("hearing-aid", "flash", constant_bytes=500_000).verdict == "fits"
    over = _line("hearing-aid", "flash", constant_bytes=500_001)
    assert over.verdict == "does not fit"
    assert over.excess == 1


def test_ram_counts_the_margin() -> None:
    assert _line("cortex-m4", "RAM", arena_bytes=262_144 - 2048 - 16_000).verdict == "fits"
    assert _line("cortex-m4", "RAM", arena_bytes=262_144).verdict == "does not fit"
    assert _line("cortex-m4", "RAM", arena_bytes=None).verdict == "unknown"


def test_latency_of_the_standard_contract_exceeds_a_hearing_aid() -> None:
    line = _line("hearing-aid", "algorithmic latency")
    assert line.verdict == "does not fit"
    assert line.excess == pytest.approx(22.0)
    assert _line("cortex-m4", "algorithmic latency").verdict == "no limit"


def test_operators_are_checked_against_the_format() -> None:
    assert _line("tflite-int8", "operators").verdict == "fits"
    lacking = _line("tflite-int8", "operators", operators=("GELU", "ADD"))
    assert lacking.verdict == "does not fit"
    assert "GELU" in lacking.note
    assert "ADD" not in lacking.note
    assert _line("tflite-int8", "operators", operators=()).verdict == "unknown"
    onnx = _line("onnx-fp32", "operators", format="onnx-fp32", operators=("Conv",))
    assert onnx.verdict == "fits"


def test_a_format_the_device_does_not_take() -> None:
    assert _line("cortex-m4", "format", format="onnx-fp32").verdict == "does not fit"
    assert _report("cortex-m4", format="onnx-fp32").verdict == "does not fit"


def test_real_time_is_a_modelled_range_on_the_m4() -> None:
    line = _line("cortex-m4", "real time")
    assert (line.verdict, line.basis) == ("fits", "modelled")
    assert line.low is not None
    assert line.high == line.needs == pytest.approx(1.3 * 6.1 * 100_000 / 64)
    slow = _line("cortex-m4", "real time", macs_per_step=10_000_000)
    assert slow.verdict == "does not fit"
    assert slow.excess == pytest.approx(0.9 * 6.1 * 10_000_000 / 64 - 12_800)  # at the least
    # 12.8 ms of a 16 ms hop lie inside the range of this many: no verdict
    assert _line("cortex-m4", "real time", macs_per_step=120_000).verdict == "unknown"


@pytest.mark.parametrize("target", ["cortex-m55", "hearing-aid", "phone", "raspberry-pi"])
def test_real_time_is_refused_without_a_calibrated_model(target: str) -> None:
    assert _line(target, "real time").verdict == "unknown"


def test_a_measurement_on_the_device_decides() -> None:
    assert _line("cortex-m55", "real time", p99_us=12_800).verdict == "fits"
    assert _line("cortex-m55", "real time", p99_us=12_801).verdict == "does not fit"


def test_float_has_no_cycle_model() -> None:
    assert _line("cortex-m4", "real time", format="tflite-fp32").verdict == "unknown"


def test_the_worst_line_decides() -> None:
    lines = {v: FitLine(budget="x", verdict=v) for v in ("fits", "unknown", "does not fit")}

    def verdict(*names: Any) -> str:
        chosen = tuple(lines[name] for name in names)
        return FitReport(target="t", origin="custom", lines=chosen).verdict

    assert verdict("fits", "unknown", "does not fit") == "does not fit"
    assert verdict("fits", "unknown") == "unknown"
    assert verdict("fits") == "fits"
    assert verdict() == "unknown"


@given(st.integers(1, 1 << 30))
def test_the_margin_is_never_smaller_than_promised(arena: int) -> None:
    reserved = arena_with_margin(arena)
    assert reserved % 16 == 0
    assert reserved - arena >= 2048
    assert reserved - arena >= 0.05 * arena
