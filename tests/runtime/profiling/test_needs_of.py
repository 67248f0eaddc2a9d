"""Needs: a figure counts for a target where it speaks of it, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.artefact import ModelFile, Network, Sidecar, TensorSpec
from runtime.contract import CONTRACTS
from runtime.figures import ARENA_FIGURE, Figure, Provenance
from runtime.profiling.modelled import NAMES, modelled
from runtime.profiling.needs_of import judge, needs_of
from targets.catalog import load_target
from targets.needs import Needs
from targets.schema import Target
from tests.runtime.profiling.made_up import figure
from tests.targets.made_up import SRAM, device

DEVICE, SIMULATED = Provenance.MEASURED_DEVICE, Provenance.SIMULATED
ENERGY = {"active_ua_per_mhz": 100.0, "volts": 1.8}


def sidecar(format: str = "c-int8") -> Sidecar:
    dtype: Any = "int16" if "int16" in format else "int8"
    return Sidecar(
        name="made-up",
        target=format,
        model=ModelFile(file="model", bytes=50_000, sha256="0" * 64),
        contract=CONTRACTS["phone"],
        inputs=(TensorSpec(name="features", shape=(1, 1, 256, 3), dtype=dtype),),
        outputs=(TensorSpec(name="mask", shape=(1, 1, 256, 2), dtype=dtype),),
        states=(),
        network=Network(preset="tiny", parameters=30_000, macs_per_step=100_000),
        operators={"CONV_2D": 3},
        memory={"constants": 40_000, "ram": 5_000} if format.startswith("c-") else {},
    )


def simulated(core: str) -> list[Figure]:
    values = (
        ("step, maximum", 200_000, "instructions"),
        ("stack of a step", 260, "bytes"),
        ("flash", 46_500, "bytes"),
        ("code", 7_000, "bytes"),
    )
    return [figure(f"{name} [{core}]", value, unit, SIMULATED) for name, value, unit in values]


def measured(name: str, value: float, unit: str = "µs") -> Figure:
    return figure(name, value, unit, DEVICE)


def test_a_sidecar_alone_tells_the_exact_part() -> None:
    needs = needs_of(sidecar(), [], device())
    assert (needs.constant_bytes, needs.static_ram_bytes) == (40_000, 5_000)
    assert needs.io_bytes == 256 * 5
    assert needs_of(sidecar("c-int16x8"), [], device()).io_bytes == 2 * 256 * 5
    unknown = (needs.code_bytes, needs.stack_bytes, needs.instructions, needs.p99_us)
    assert unknown == (None, None, None, None)
    tflite = needs_of(sidecar("tflite-int8"), [figure(ARENA_FIGURE, 9_000, "bytes")], device())
    assert (tflite.constant_bytes, tflite.arena_bytes, tflite.io_bytes) == (50_000, 9_000, 0)


def test_a_simulation_counts_for_its_core() -> None:
    figures = [*simulated("cortex-m7"), *simulated("cortex-m4"), *simulated("cortex-m0")]
    for core in ("cortex-m4", "cortex-m0plus"):
        needs = needs_of(sidecar(), figures, device(core=core))
        assert (needs.instructions, needs.stack_bytes) == (200_000, 260)
        assert (needs.constant_bytes, needs.code_bytes) == (39_500, 7_000)
    for core in ("cortex-m33", ""):
        assert needs_of(sidecar(), figures, device(core=core)).instructions is None


@pytest.mark.parametrize(
    ("class_", "place", "counts"),
    [
        ("phone", "adb 1234", True),
        ("phone", "serial /dev/ttyACM0", False),
        ("single-board-computer", "ssh pi@host", True),
        ("board", "serial /dev/ttyACM0", True),
        ("board", "ssh pi@host", False),
        ("simulated", "serial /dev/ttyACM0", False),
    ],
)
def test_a_measurement_counts_for_its_class_of_devices(
    class_: str, place: str, counts: bool
) -> None:
    needs = needs_of(
        sidecar(), [measured(f"step, p99 [{place}]", 900.0)], device(**{"class": class_})
    )
    assert needs.p99_us == (900.0 if counts else None)


def test_a_host_s_time_is_no_device_s() -> None:
    host = figure("step, p99 [ssh me@localhost]", 5.0, "µs", Provenance.MEASURED_HOST)
    assert needs_of(sidecar(), [host], device(**{"class": "phone"})).p99_us is None


def test_cycles_count_at_the_profile_s_clock_unless_the_board_states_its_own() -> None:
    cycles = measured("step, p99 [serial COM1]", 640_000.0, "cycles")
    assert needs_of(sidecar(), [cycles], device()).p99_us == 10_000.0
    assert needs_of(sidecar(), [cycles], device(clock_mhz=None)).p99_us is None
    timed = measured("time of a step, p99 [serial COM1]", 12_000.0)
    assert needs_of(sidecar(), [cycles, timed], device()).p99_us == 12_000.0
    slower = measured("time of a step, p99 [serial COM2]", 13_000.0)
    assert needs_of(sidecar(), [timed, slower], device()).p99_us == 13_000.0


def test_a_stack_that_was_measured_beats_a_simulated_one() -> None:
    figures = [*simulated("cortex-m4"), measured("stack of a step [serial COM1]", 300, "bytes")]
    needs = needs_of(sidecar(), figures, device())
    assert (needs.stack_bytes, needs.stack_basis) == (300, "measured-device")


def test_a_phone_counts_the_memory_of_a_process() -> None:
    host = figure("peak memory [litert]", 3_000_000, "bytes", Provenance.MEASURED_HOST)
    phone = device(**{"class": "phone"})
    tflite = sidecar("tflite-int8")
    assert needs_of(tflite, [host], phone).process_bytes == 3_000_000
    assert needs_of(tflite, [host], device()).process_bytes is None
    there = measured("peak memory [adb 1234]", 2_000_000, "bytes")
    needs = needs_of(tflite, [host, there], phone)
    assert (needs.process_bytes, needs.process_basis) == (2_000_000, "measured-device")


def test_the_verdict_knows_what_was_simulated() -> None:
    report = judge(sidecar(), simulated("cortex-m4"), device())
    assert report.verdict == "fits"
    assert not [line.missing for line in report.lines[:5] if line.missing]
    sibling: Needs = needs_of(sidecar(), simulated("cortex-m4"), device())
    slow = sidecar("tflite-int8").model_copy(
        update={"network": Network(preset="", parameters=30_000, macs_per_step=300_000)}
    )
    assert judge(slow, [], device(), [sibling]).remedies[0].text.startswith("c-int8 instead of")


# Modelled figures


def named(target: Target, figures: list[Figure]) -> dict[str, Figure]:
    reading = modelled(sidecar(), figures, target)
    assert reading.place == target.name
    found = {one.name.partition(" [")[0]: one for one in reading.figures}
    lacking = {one.name.partition(" [")[0] for one in reading.unavailable}
    assert found.keys() | lacking == set(NAMES)
    assert not found.keys() & lacking
    assert all(one.reason for one in reading.unavailable)
    return found


def test_time_cycles_and_energy_are_ranges_with_assumptions() -> None:
    found = named(device(energy=ENERGY), simulated("cortex-m4"))
    assert found.keys() == set(NAMES)
    cycles, time = found["cycles of a step"], found["step"]
    assert cycles.low == pytest.approx(0.9 * 1.14 * 200_000)
    assert cycles.high == pytest.approx(1.3 * 1.14 * 200_000)
    assert time.high is not None
    assert cycles.high is not None
    assert time.high == pytest.approx(cycles.high / 64)
    energy, power = found["energy of a step"], found["average power"]
    assert energy.high == pytest.approx(cycles.high * 100e-12 * 1.8 * 1e6)  # A/Hz × V, in µJ
    assert energy.high is not None
    assert power.high == pytest.approx(energy.high / 16.0)  # mW over a hop of 16 ms
    for one in found.values():
        assert one.provenance is Provenance.MODELLED
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
        assert "200,000 instructions × 1.14" in one.conditions
    assert "100 µA/MHz × 1.8 V" in energy.conditions


def test_no_supply_current_is_no_energy() -> None:
    assert named(device(), simulated("cortex-m4")).keys() == {"step", "cycles of a step"}


@pytest.mark.parametrize("core", ["cortex-m7", "cortex-m55"])
def test_a_core_without_a_model_has_no_figure(core: str) -> None:
    assert named(device(core=core, energy=ENERGY), simulated(core)) == {}


def test_a_measured_step_is_not_modelled() -> None:
    figures = [*simulated("cortex-m4"), measured("step, p99 [serial COM1]", 640_000.0, "cycles")]
    assert named(device(), figures)["step"].high == pytest.approx(1.3 * 1.14 * 200_000 / 64)


def test_weights_that_are_read_slowly_are_in_the_time_and_not_in_the_cycles() -> None:
    nor = {"name": "nor", "kind": "external-flash", "bytes": 10**6, "holds": ["weights", "code"]}
    found = named(device(memory=[{**nor, "read_mb_s": 3.95}, SRAM]), simulated("cortex-m4"))
    cycles, time = found["cycles of a step"], found["step"]
    assert cycles.high is not None
    assert time.high is not None
    assert time.high == pytest.approx(cycles.high / 64 + 10_000.0)
    unknown = named(device(memory=[nor, SRAM]), simulated("cortex-m4"))
    assert unknown.keys() == {"cycles of a step"}


def test_a_format_has_no_time() -> None:
    assert modelled(sidecar(), [], load_target("c-int8")).figures == ()
