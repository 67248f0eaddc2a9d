"""The fit verdict: limits are met exactly, excess is stated, and what is unknown is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.catalog import list_targets, load_target
from targets.fit import FitLine, FitReport, arena_with_margin, fit_verdict
from targets.needs import Needs
from targets.schema import Target
from tests.targets.made_up import FLASH, SRAM, device, interpreted, needs

SLOW = {"name": "nor", "kind": "external-flash", "bytes": 10_000_000, "holds": ["weights"]}
CALIBRATED = {"format": "c-int8", "basis": "measured-device", "cycles_per_instruction": [1.3, 1.5]}


def line(target: Target, asked: Needs, budget: str) -> FitLine:
    return next(one for one in fit_verdict(target, asked).lines if one.budget == budget)


# Format and operators


def test_operators_are_checked_against_the_format() -> None:
    assert line(load_target("tflite-int8"), interpreted(), "operators").verdict == "fits"
    gelu = interpreted(operators=("GELU", "ADD"))
    lacking = line(load_target("tflite-int8"), gelu, "operators")
    assert lacking.verdict == "does not fit"
    assert "GELU" in lacking.note
    assert "ADD" not in lacking.note
    assert line(device(), needs(operators=()), "operators").verdict == "unknown"
    onnx = needs(format="onnx-fp32", operators=("Conv",))
    assert line(load_target("onnx-fp32"), onnx, "operators").verdict == "fits"


def test_a_format_the_device_does_not_take() -> None:
    report = fit_verdict(device(), needs(format="onnx-fp32"))
    assert report.failing()[0] == "format"
    assert report.verdict == "does not fit"


# Memory


def test_flash_counts_constants_and_code_to_the_byte() -> None:
    target = device(memory=[{**FLASH, "bytes": 97_000}, SRAM])
    assert line(target, needs(), "flash").verdict == "fits"
    over = line(target, needs(code_bytes=7_001), "flash")
    assert (over.verdict, over.excess) == ("does not fit", 1)
    assert "code do not fit into flash" in over.note


def test_a_budget_is_stricter_than_the_memory() -> None:
    target = device(budget={"weight_bytes": 97_000, "ram_bytes": 6_580})
    assert line(target, needs(), "flash").offers == 97_000
    assert line(target, needs(), "flash").verdict == "fits"
    assert line(target, needs(constant_bytes=90_001), "flash").excess == 1
    assert line(target, needs(), "RAM").verdict == "fits"
    assert line(target, needs(stack_bytes=301), "RAM").excess == 1


def test_code_that_was_not_simulated_is_told() -> None:
    found = line(device(), needs(code_bytes=None), "flash")
    assert found.verdict == "fits"
    assert "not counted: code" in found.note
    assert found.missing
    assert "code of the runtime" in line(device(), interpreted(), "flash").note


def test_an_audio_path_is_told_with_its_size() -> None:
    found = fit_verdict(device(), needs(audio_ram_bytes=8_000, audio_constant_bytes=4_000))
    told = {one.budget: one.note for one in found.lines}
    assert "not counted: the audio path (4,000 bytes" in told["flash"]
    assert "not counted: the audio path (8,000 bytes" in told["RAM"]
    assert found.verdict == "fits"


def test_pieces_lie_in_the_first_region_with_room() -> None:
    small = {"name": "tcm", "kind": "tcm", "bytes": 4_000, "holds": ["data"]}
    found = line(device(memory=[FLASH, small, SRAM]), needs(), "RAM")
    assert "5,000 states and arena in sram" in found.note
    assert "300 stack in tcm" in found.note
    # Two regions of which neither holds the plan, though both together would.
    halves = [{**small, "name": name} for name in ("one", "two")]
    split = line(device(memory=[FLASH, *halves]), needs(), "RAM")
    assert (split.verdict, split.excess) == ("does not fit", 1_000)


def test_one_memory_for_everything_is_shared() -> None:
    dram = {"name": "dram", "kind": "dram", "bytes": 103_580, "holds": ["code", "weights", "data"]}
    assert fit_verdict(device(memory=[dram]), needs(instructions=1)).verdict == "fits"
    tight = device(memory=[{**dram, "bytes": 103_579}])
    assert line(tight, needs(), "RAM").excess == 1


def test_an_arena_counts_with_its_margin() -> None:
    target = device(memory=[FLASH, {**SRAM, "bytes": 18_048}])
    assert line(target, interpreted(), "RAM").verdict == "fits"
    assert line(target, interpreted(arena_bytes=16_001), "RAM").verdict == "does not fit"
    assert line(target, interpreted(), "RAM").basis == "measured-host"
    assert "scratch memory of kernels" in line(target, interpreted(), "RAM").note


def test_memory_that_nobody_stated_or_measured_is_unknown() -> None:
    unmeasured = line(device(), interpreted(arena_bytes=None), "RAM")
    assert unmeasured.verdict == "unknown"
    assert "tflite_micro" in unmeasured.missing[0]
    nowhere = line(device(memory=[SRAM]), needs(), "flash")
    assert nowhere.verdict == "unknown"
    assert nowhere.missing == ("a memory that holds weights", "a memory that holds code")
    unsized = device(memory=[{"name": "nor", "kind": "flash", "holds": ["weights", "code"]}, SRAM])
    assert line(unsized, needs(), "flash").missing == ("the size of nor",)


def test_a_process_is_what_a_phone_counts() -> None:
    dram = {"name": "dram", "kind": "dram", "bytes": 10**9, "holds": ["code", "weights", "data"]}
    phone = device(**{"class": "phone", "memory": [dram]})
    found = line(phone, interpreted(process_bytes=30_000_000), "RAM")
    assert (found.verdict, found.basis, found.missing) == ("fits", "measured-host", ())


# Time


def test_simulated_instructions_become_a_range_of_time() -> None:
    found = line(device(), needs(instructions=600_000), "real time")
    assert found.low == pytest.approx(0.9 * 1.14 * 600_000 / 64)
    assert found.high == found.needs == pytest.approx(1.3 * 1.14 * 600_000 / 64)
    assert found.verdict == "unknown"  # 12.8 ms lie inside the range
    assert "measurement" in found.missing[0]
    assert line(device(), needs(instructions=550_000), "real time").verdict == "fits"
    slow = line(device(), needs(instructions=1_000_000), "real time")
    assert slow.verdict == "does not fit"
    assert slow.excess == pytest.approx(0.9 * 1.14 * 1_000_000 / 64 - 12_800)  # at the least


def test_without_a_simulation_cycles_per_mac_are_taken() -> None:
    found = line(device(), interpreted(), "real time")
    assert found.high == pytest.approx(1.3 * 6.1 * 100_000 / 64)
    assert found.basis == "modelled"


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m7", "cortex-m55", "riscv", ""])
def test_other_cores_need_a_calibration(core: str) -> None:
    found = line(device(core=core), needs(), "real time")
    assert (found.verdict, found.basis, found.needs) == ("unknown", "none", None)
    assert "--on serial" in found.missing[0]
    if core:
        own = device(core=core, speed=[CALIBRATED])
        calibrated = line(own, needs(), "real time")
        assert (calibrated.low, calibrated.high) == (1.3 * 200_000 / 64, 1.5 * 200_000 / 64)
        uncounted = line(own, needs(instructions=None), "real time")
        assert "simulate" in uncounted.missing[0]


@pytest.mark.parametrize("format", ["tflite-fp32", "c-fp32", "onnx-int8"])
def test_formats_that_were_not_modelled_have_no_time(format: str) -> None:
    assert line(device(), needs(format=format), "real time").verdict == "unknown"


def test_a_measurement_on_the_device_decides() -> None:
    target = device(core="cortex-m55")
    assert line(target, needs(p99_us=12_800.0), "real time").verdict == "fits"
    late = line(target, needs(p99_us=12_801.0), "real time")
    assert (late.verdict, late.excess, late.basis) == ("does not fit", 1.0, "measured-device")
    shared = device(core="cortex-m55", budget={"cpu_share": 0.5})
    assert line(shared, needs(p99_us=8_000.0), "real time").verdict == "fits"
    assert line(shared, needs(p99_us=8_000.1), "real time").verdict == "does not fit"


def test_reading_weights_takes_time() -> None:
    """2.70 MB over 122 MB/s were predicted to take 22.1 ms, and 22.9 were measured."""
    target = device(core="cortex-m55", memory=[{**SLOW, "read_mb_s": 122}, SRAM])
    found = line(target, needs(constant_bytes=2_700_000, code_bytes=None), "real time")
    assert found.verdict == "does not fit"  # whatever computing takes
    assert found.needs == pytest.approx(22_131, abs=1)
    assert found.basis == "modelled"


def test_reading_and_computing_overlap_wholly_or_not_at_all() -> None:
    target = device(memory=[{**SLOW, "read_mb_s": 90}, FLASH, SRAM])
    found = line(target, needs(instructions=400_000), "real time")
    compute = [bound * 1.14 * 400_000 / 64 for bound in (0.9, 1.3)]
    assert found.low == pytest.approx(compute[0])
    assert found.high == pytest.approx(compute[1] + 1_000.0)
    assert "90,000 bytes of weights over 90 MB/s" in found.note


@pytest.mark.parametrize("size", [10_000_000, None])
def test_external_flash_of_unknown_speed_bounds_nothing(size: int | None) -> None:
    region = {key: value for key, value in {**SLOW, "bytes": size}.items() if value}
    found = line(device(memory=[region, SRAM]), needs(), "real time")
    assert found.verdict == "unknown"
    assert found.missing == ("how fast weights are read (read_mb_s of nor)",)
    least = line(device(memory=[region, SRAM]), needs(instructions=10**6), "real time")
    assert least.verdict == "does not fit"


# Latency and power


def test_a_limit_that_nobody_stated_decides_nothing() -> None:
    report = fit_verdict(device(), needs())
    assert line(device(), needs(), "algorithmic latency").verdict == "no limit"
    assert line(device(), needs(), "total latency").verdict == "no limit"
    assert report.verdict == "fits"


def test_the_algorithmic_latency_is_met_exactly() -> None:
    target = device(budget={"algorithmic_latency_ms": 32})
    assert line(target, needs(), "algorithmic latency").verdict == "fits"
    late = line(target, needs(algorithmic_delay=528), "algorithmic latency")
    assert late.verdict == "does not fit"
    assert late.excess == pytest.approx(1.0)


def test_the_total_latency_has_four_parts() -> None:
    target = device(budget={"total_latency_ms": 40, "io_ms": 3})
    met = line(target, needs(p99_us=5_000.0), "total latency")
    assert met.verdict == "fits"
    assert met.needs == pytest.approx(40.0)
    assert met.note == "window 16 + hop 16 + compute 5 + I/O 3 ms"
    assert line(target, needs(p99_us=5_001.0), "total latency").verdict == "does not fit"


def test_a_total_latency_of_unknown_parts_may_refuse_but_not_accept() -> None:
    unknown = needs(instructions=None, format="c-fp32")
    found = line(device(budget={"total_latency_ms": 40}), unknown, "total latency")
    assert found.verdict == "unknown"
    assert [part.partition(" ")[0] for part in found.missing] == ["compute", "I/O"]
    assert found.needs == pytest.approx(32.0)
    short = line(device(budget={"total_latency_ms": 31}), unknown, "total latency")
    assert short.verdict == "does not fit"
    assert short.excess == pytest.approx(1.0)


def test_power_is_judged_where_energy_is_known() -> None:
    energy = {"active_ua_per_mhz": 100.0, "volts": 1.8}  # 11.52 mW at 64 MHz
    target = device(energy=energy, budget={"power_mw": 6})
    found = line(target, needs(p99_us=8_000.0), "power")
    assert found.verdict == "fits"
    assert found.needs == pytest.approx(5.76)
    assert found.basis == "modelled"
    assert line(target, needs(p99_us=9_000.0), "power").verdict == "does not fit"
    assert line(device(energy=energy), needs(), "power").verdict == "no limit"
    lacking = line(device(budget={"power_mw": 6}), needs(), "power")
    assert (lacking.verdict, lacking.missing) == ("unknown", ("supply current of the core",))
    assert all(one.budget != "power" for one in fit_verdict(device(), needs()).lines)


def test_an_npu_alone_decides_only_where_all_runs_on_it() -> None:
    whole = line(device(), needs(npu_us=(200.0, 300.0), npu_macs_share=1.0), "real time")
    assert (whole.verdict, whole.basis, whole.needs) == ("fits", "modelled", 300.0)
    for share in (0.95, None):
        part = line(device(), needs(npu_us=(200.0, 300.0), npu_macs_share=share), "real time")
        assert part.verdict == "unknown"
        assert part.missing == ("what the operators left on the CPU take",)
    late = line(device(), needs(npu_us=(2e6, 3e6), npu_macs_share=0.95), "real time")
    assert late.verdict == "does not fit"  # whatever the CPU adds


def test_the_audio_path_is_named_where_it_is_not_counted() -> None:
    counted = needs(instructions=100_000, audio_instructions=10_000)
    note = line(device(), counted, "real time").note
    assert "not counted: the audio path (10,000 instructions, 10% of the step's" in note
    assert "audio path" not in line(device(), needs(instructions=100_000), "real time").note


# The whole


def test_the_worst_line_decides() -> None:
    names: tuple[Any, ...] = ("fits", "unknown", "does not fit", "no limit")
    lines = {name: FitLine(budget="x", verdict=name) for name in names}

    def verdict(*chosen: str) -> str:
        kept = tuple(lines[name] for name in chosen)
        return FitReport(target="t", origin="custom", lines=kept).verdict

    assert verdict("fits", "unknown", "does not fit", "no limit") == "does not fit"
    assert verdict("fits", "unknown", "no limit") == "unknown"
    assert verdict("fits", "no limit") == "fits"
    assert verdict() == verdict("no limit") == "unknown"


@pytest.mark.parametrize("asked", [needs(), interpreted(), interpreted(arena_bytes=None)])
@pytest.mark.parametrize("target", list_targets(), ids=lambda target: target.name)
def test_every_number_has_a_basis_and_every_unknown_a_name(target: Target, asked: Needs) -> None:
    for one in fit_verdict(target, asked).lines:
        assert (one.basis == "none") <= (one.needs is None and one.verdict != "fits")
        assert (one.verdict == "unknown") <= bool(one.missing)
        assert one.note or one.missing
        if one.verdict == "does not fit" and one.unit:
            assert one.excess > 0


@given(st.integers(1, 1 << 30))
def test_the_margin_is_never_smaller_than_promised(arena: int) -> None:
    reserved = arena_with_margin(arena)
    assert reserved % 16 == 0
    assert reserved - arena >= 2048
    assert reserved - arena >= 0.05 * arena
