"""The backend `serial` against boards played on a pseudo-terminal, and calibration by them."""

from __future__ import annotations

import builtins
import os
import tomllib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.artefact import Artefact
from runtime.devices import serial
from runtime.devices.bench_session import Patience, Session
from runtime.devices.calibration import calibrated, write_profile
from runtime.devices.children import ToolMissing
from runtime.devices.golden import golden_vectors
from runtime.devices.simulation import GoldenVectors
from runtime.engines.native import find_compiler
from runtime.figures import Figure, Provenance
from runtime.profile_cli import profile
from runtime.profiling.backends import Request, load_backend
from runtime.profiling.machine import this_machine
from runtime.profiling.records import OperatorRow, ProfileReport, Reading, Subject
from targets.catalog import load_target, origin_of
from targets.errors import GateFailed, GateUnavailable, InputError
from targets.schema import Target
from tests.runtime.devices.bench_models import write_model
from tests.runtime.devices.fake_board import FakeBoard, hello_of, plugged_in
from tests.runtime.fakes import invoke

pytest.importorskip("serial", reason="pyserial is not installed")
pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
FRAMES = 6
HURRY = Patience(between=0.1, hello=0.3, frame=0.2, silence=0.2)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_model(tmp_path_factory.mktemp("sums"))


@pytest.fixture(scope="module")
def vectors(artefact: Artefact) -> GoldenVectors:
    return golden_vectors(artefact, FRAMES)


@pytest.fixture
def board(artefact: Artefact, vectors: GoldenVectors) -> FakeBoard:
    return FakeBoard(hello_of(artefact, vectors), vectors)


@pytest.fixture
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "Session", lambda wire: Session(wire, HURRY))


def read(board: FakeBoard, artefact: Artefact) -> Reading:
    with plugged_in(board) as port:
        findings = serial.measure([artefact], Request(address=port, frames=FRAMES))
    ((reading,),) = findings.readings
    return reading


def by_name(reading: Reading) -> dict[str, Figure]:
    return {figure.name.partition(" [")[0]: figure for figure in reading.figures}


def test_the_module_of_pyserial_is_not_shadowed() -> None:
    assert load_backend("serial") is serial
    assert serial._pyserial().__name__ == "serial"
    assert serial._pyserial() is not serial


def test_cycles_time_and_stack_of_a_board(board: FakeBoard, artefact: Artefact) -> None:
    reading = read(board, artefact)
    assert reading.matches is True
    assert reading.difference == ""
    assert reading.backend == "serial"
    figures = by_name(reading)
    cycles = 10_020 - 20 + np.arange(FRAMES)
    assert figures["step, least"].value == cycles.min()
    assert figures["step, greatest"].value == figures["step, p99"].value == cycles.max()
    assert figures["step, median"].value == np.median(cycles)
    assert (figures["step, median"].low, figures["step, median"].high) == (10_000, 10_005)
    assert figures["step, median"].unit == "cycles"
    assert figures["time of a step, greatest"].value == pytest.approx(100.05)
    assert figures["time of a step, greatest"].unit == "µs"
    assert figures["step, per MAC"].value == pytest.approx(np.median(cycles) / 480)
    assert figures["stack of a step"].value == 305
    for figure in reading.figures:
        assert figure.provenance is Provenance.MEASURED_DEVICE
        assert figure.name.endswith(f" [serial {reading.place}]")
        assert "cortex-m4 at 100 MHz" in figure.conditions
        assert "gcc 12.2.1 -O3" in figure.conditions
        assert "DWT" in figure.tool


def test_a_board_that_counts_operators(board: FakeBoard, artefact: Artefact) -> None:
    board.hello = replace(board.hello, operators=3)
    board.operators = (9_004, 0, 504)
    reading = read(board, artefact)
    assert [(row.step, row.kind, row.value, row.macs) for row in reading.operators] == [
        (0, "CONV_2D", 9_000, 480),
        (2, "TANH", 500, 0),
    ]
    assert all(row.unit == "cycles" for row in reading.operators)
    assert "step, median" not in by_name(reading)
    assert by_name(reading)["step with hooks, median"].value == 10_002.5
    assert "flash the plain one" in reading.unavailable[0].reason


def test_a_wrong_mask_is_told_to_the_value(board: FakeBoard, artefact: Artefact) -> None:
    board.tampered = 4
    reading = read(board, artefact)
    assert reading.matches is False
    assert reading.difference.startswith("frame 4, value 3: ")
    assert "1 values differ" in reading.difference


def test_boot_messages_lost_and_damaged_bytes_are_survived(
    board: FakeBoard, artefact: Artefact
) -> None:
    board.noise = b"\r\n*** booting v1.2 ***\r\n\0\xff\xfe\0\0" + bytes(range(256))
    board.deaf_to = 1
    board.damaged = frozenset({0, 3})
    reading = read(board, artefact)
    assert reading.matches is True
    assert board.steps == FRAMES  # a frame that was asked for again was not computed again


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spin": 0}, "DWT cycle counter: the counter does not run"),
        ({"counter": 2, "counter_bits": 24}, "a step takes more than the 24 bits of SysTick"),
    ],
)
def test_what_was_not_counted_is_never_0(
    board: FakeBoard, artefact: Artefact, change: dict[str, Any], reason: str
) -> None:
    board.hello = replace(board.hello, **change)
    board.ticks = None if "counter" in change else 0
    reading = read(board, artefact)
    assert {u.reason for u in reading.unavailable} == {reason}
    assert {u.name.partition(" [")[0] for u in reading.unavailable} >= {"step, median"}
    assert set(by_name(reading)) == {"stack of a step"}
    assert reading.matches is True


def test_without_a_clock_there_is_no_time(board: FakeBoard, artefact: Artefact) -> None:
    board.hello = replace(board.hello, clock_hz=0)
    reading = read(board, artefact)
    assert "step, median" in by_name(reading)
    assert not [name for name in by_name(reading) if "time" in name]
    assert "supply bench_clock_hz" in reading.unavailable[0].reason


def test_a_simulated_board_says_so(board: FakeBoard, artefact: Artefact) -> None:
    board.hello = replace(board.hello, simulated=True)
    reading = read(board, artefact)
    assert {figure.provenance for figure in reading.figures} == {Provenance.SIMULATED}
    assert by_name(reading)["step, median"].unit == "ticks"
    assert not [name for name in by_name(reading) if "time" in name]


def test_another_model_is_refused(board: FakeBoard, artefact: Artefact, tmp_path: Path) -> None:
    other = write_model(tmp_path, (artefact.path.read_text() + "/* other */\n"))
    with pytest.raises(InputError, match="runs another model"):
        read(board, other)


def test_of_several_models_the_one_on_the_board_is_measured(
    board: FakeBoard, artefact: Artefact, tmp_path: Path
) -> None:
    other = write_model(tmp_path, (artefact.path.read_text() + "/* other */\n"), name="other")
    with plugged_in(board) as port:
        request = Request(address=port, frames=FRAMES)
        (first,), (second,) = serial.measure([other, artefact], request).readings
    assert first.figures == ()
    assert first.unavailable[0].reason == "the board runs sums"
    assert second.matches is True


def test_only_c_runs_on_a_board(artefact: Artefact) -> None:
    other = artefact.model_copy(update={"path": artefact.path.with_suffix(".tflite")})
    with pytest.raises(InputError, match=r"model\.tflite is none"):
        serial.measure([other], Request(address="/dev/none"))


def test_other_sizes_are_refused(board: FakeBoard, artefact: Artefact) -> None:
    board.hello = replace(board.hello, mask_bytes=7)
    with pytest.raises(InputError, match="gives 7"):
        read(board, artefact)


def test_a_cable_that_is_pulled(board: FakeBoard, artefact: Artefact) -> None:
    board.unplugged_at = 3
    with pytest.raises(GateUnavailable, match="went away in the middle") as refusal:
        read(board, artefact)
    assert refusal.value.exit_code == 3
    assert "cable" in refusal.value.hint


@pytest.mark.usefixtures("_in_a_hurry")
def test_silence(board: FakeBoard, artefact: Artefact) -> None:
    board.silent = True
    with pytest.raises(GateUnavailable, match="Nothing answers"):
        read(board, artefact)


@pytest.mark.usefixtures("_in_a_hurry")
def test_garbage_as_of_a_wrong_baud_rate(board: FakeBoard, artefact: Artefact) -> None:
    board.hello = replace(board.hello, output_only=False)
    noise = np.random.default_rng(0).integers(0, 256, 400, dtype=np.uint8).tobytes()
    answers = board.answers
    board.answers = lambda message: noise if message else answers(message)  # type: ignore[method-assign]
    with pytest.raises(GateUnavailable, match=r"sent \d+ bytes, none of them from a bench") as told:
        read(board, artefact)
    assert "baud" in told.value.hint


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (5, GateFailed, "more stack than BENCH_STACK_BYTES"),
        (3, GateUnavailable, "it was reset"),
        (99, GateUnavailable, "problem 99"),
    ],
)
def test_problems_of_the_board(
    board: FakeBoard, artefact: Artefact, number: int, error: type[Exception], words: str
) -> None:
    board.problem_at = {2: number}
    with pytest.raises(error, match=words):
        read(board, artefact)


@pytest.mark.usefixtures("_in_a_hurry")
def test_a_board_that_damages_every_frame(board: FakeBoard, artefact: Artefact) -> None:
    board.problem_at = {2: 1}
    with pytest.raises(GateUnavailable, match="did not answer frame 2"):
        read(board, artefact)


# Ports.


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/dev/ttyACM0", ("/dev/ttyACM0", 115_200)),
        ("/dev/ttyUSB1@921600", ("/dev/ttyUSB1", 921_600)),
        ("/dev/serial/by-id/a@b@9600", ("/dev/serial/by-id/a@b", 9_600)),
    ],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert serial.parse_address(address) == expected


@pytest.mark.parametrize("address", ["", "@9600", "/dev/x@", "/dev/x@fast", "/dev/x@7", "/dev/x@²"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InputError, match=r"port|baud"):
        serial.parse_address(address)


def test_a_port_that_is_not_there(artefact: Artefact) -> None:
    with pytest.raises(GateUnavailable, match="There is no port /dev/nowhere") as refusal:
        serial.measure([artefact], Request(address="/dev/nowhere"))
    assert refusal.value.hint


def test_a_port_in_use(board: FakeBoard, artefact: Artefact) -> None:
    with (
        plugged_in(board) as port,
        closing(serial.SerialWire(port, 9_600)),
        pytest.raises(GateUnavailable, match="in use by another program"),
    ):
        serial.measure([artefact], Request(address=port))


def test_a_port_one_may_not_open(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serial._pyserial(), "Serial", refuse)
    with pytest.raises(GateUnavailable, match="may not open") as refusal:
        serial.measure([artefact], Request(address="/dev/ttyACM0"))
    assert "dialout" in refusal.value.hint


def test_a_file_and_a_folder_are_no_ports(artefact: Artefact, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    with pytest.raises(GateUnavailable, match="file is no serial port"):
        serial.measure([artefact], Request(address=str(tmp_path / "file")))
    with pytest.raises(GateUnavailable, match=r"cannot be opened: is a directory\."):
        serial.measure([artefact], Request(address=str(tmp_path)))


def test_without_pyserial(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def lacking(name: str, *rest: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "serial":
            raise ModuleNotFoundError(f"No module named {name!r}", name="serial")
        return usual(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(ToolMissing, match="pyserial") as refusal:
        serial.measure([artefact], Request(address="/dev/ttyACM0"))
    assert refusal.value.exit_code == 3
    assert "pip install" in refusal.value.hint


# Calibration.

PORT = "/dev/ttyACM0"
CONDITIONS = "6 frames on a cortex-m4 at 168 MHz as it states, gcc 12.2.1 -O3 -mcpu=cortex-m4"


def figure(name: str, value: float, span: tuple[float, float] | None = None, **more: Any) -> Figure:
    low, high = span or (None, None)
    given = {"unit": "cycles", "tool": "bench firmware, DWT cycle counter", **more}
    provenance = given.pop("provenance", Provenance.MEASURED_DEVICE)
    conditions = given.pop("conditions", CONDITIONS)
    return Figure(
        name=name,
        value=value,
        low=low,
        high=high,
        provenance=provenance,
        conditions=conditions,
        **given,
    )


def row(step: int, value: float, macs: int) -> OperatorRow:
    return OperatorRow(step=step, kind="CONV_2D", output="x", value=value, macs=macs)


def measured(operators: tuple[OperatorRow, ...] = (), step: str = "step", **more: Any) -> Reading:
    median = figure(f"{step}, median [serial {PORT}]", 1_200, (1_180, 1_230), **more)
    return Reading(
        backend="serial", place=PORT, figures=(median,), operators=operators, matches=True
    )


def simulated(operators: tuple[OperatorRow, ...] = (), flags: str = "-O3") -> Reading:
    counts = figure(
        "step, median [cortex-m4]",
        1_000,
        (1_000, 1_000),
        provenance=Provenance.SIMULATED,
        conditions=f"Cortex-M4F on QEMU, gcc {flags} -mcpu=cortex-m4",
    )
    return Reading(backend="simulator", place="cortex-m4", figures=(counts,), operators=operators)


def report(artefact: Artefact, *readings: Reading) -> ProfileReport:
    subject = Subject(
        artefact="model.c", format="c-int8", sha256="0" * 64, figures=(), readings=readings
    )
    return ProfileReport(
        created="2026-02-03T04:05:06+00:00",
        command="",
        tools={},
        machine=this_machine(),
        subjects=(subject,),
    )


@pytest.fixture
def target() -> Target:
    return load_target("cortex-m4")


Calibrate = Callable[..., Target]


def ends(span: tuple[float, float] | None) -> list[float]:
    assert span is not None
    return list(span)


@pytest.fixture
def calibrate(artefact: Artefact, target: Target) -> Calibrate:
    return lambda *readings: calibrated(target, [artefact], report(artefact, *readings))


def test_a_step_alone_gives_wide_ranges(calibrate: Calibrate, artefact: Artefact) -> None:
    made = calibrate(measured(), simulated())
    (speed,) = (speed for speed in made.speeds if speed.format == "c-int8")
    assert speed.basis == "measured-device"
    assert ends(speed.cycles_per_instruction) == pytest.approx([1.06, 1.60])
    low, high = ends(speed.cycles_per_mac)
    assert low == pytest.approx(1_180 / 480 / 1.8, rel=0.01)
    assert high == pytest.approx(1_230 / 480 * 1.8, rel=0.01)
    assert low <= 1_180 / 480 <= 1_230 / 480 <= high
    source = next(s for s in made.sources if "speed.c-int8" in s.supports)
    for part in (artefact.sidecar.model.sha256, PORT, "gcc 12.2.1", "168 MHz", "widened"):
        assert part in source.note
    assert "2026-02-03" in source.title
    assert made.clock_mhz == 168
    assert made.title.endswith("; speed measured at 168 MHz")
    assert "clock_mhz" in source.supports


def test_operators_bound_the_ranges(calibrate: Calibrate) -> None:
    """2.5 and 2.14 cycles per MAC, 1.25 and 1 per instruction; 11 cycles are left out."""
    here = (row(0, 500, 200), row(1, 600, 280), row(2, 100, 0), row(3, 11, 1))
    there = (row(0, 400, 200), row(1, 600, 280), row(2, 110, 0), row(3, 1, 1))
    made = calibrate(measured(here, "step with hooks"), simulated(there))
    (speed,) = (speed for speed in made.speeds if speed.format == "c-int8")
    assert ends(speed.cycles_per_instruction) == pytest.approx([0.909, 1.25], abs=1e-3)
    low, high = ends(speed.cycles_per_mac)
    assert low == pytest.approx(600 / 280, rel=0.01)
    assert high == pytest.approx(2.5 * 1_230 / 1_100, rel=0.01)


def test_without_a_simulation_of_the_same_code_no_cycles_per_instruction(
    calibrate: Calibrate,
) -> None:
    for readings in ((measured(),), (measured(), simulated(flags="-O2"))):
        made = calibrate(*readings)
        (speed,) = (speed for speed in made.speeds if speed.format == "c-int8")
        assert speed.cycles_per_instruction is None
        assert speed.cycles_per_mac is not None
        note = made.sources[-1].note
        assert "no cycles per instruction: " in note


def test_a_calibrated_profile_is_read_back_and_is_custom(
    calibrate: Calibrate, tmp_path: Path
) -> None:
    path = tmp_path / "my-board.toml"
    made = calibrate(measured(), simulated())
    write_profile(made, path)
    again = load_target(str(path))
    assert again == made.model_copy(update={"name": "my-board"})
    assert origin_of(again) == "custom"
    assert tomllib.loads(path.read_text())["speed"][0]["basis"] == "measured-device"
    write_profile(made, path)  # what sordino wrote it may replace
    path.write_text(path.read_text() + "# mine\n")
    with pytest.raises(InputError, match="was not written by sordino"):
        write_profile(made, path)
    assert sorted(os.listdir(tmp_path)) == ["my-board.toml"]


@pytest.mark.parametrize("name", ["My Board.toml", "board.json", ".toml"])
def test_names_of_profiles(calibrate: Calibrate, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="toml"):
        write_profile(calibrate(measured()), tmp_path / name)


def test_what_calibrates_nothing(calibrate: Calibrate, artefact: Artefact) -> None:
    with pytest.raises(InputError, match="No board was measured"):
        calibrate(simulated())
    with pytest.raises(InputError, match="simulated board"):
        calibrate(measured(provenance=Provenance.SIMULATED))
    with pytest.raises(InputError, match="has a cortex-m7, the target cortex-m4 a cortex-m4"):
        calibrate(measured(conditions="6 frames on a cortex-m7 at 400 MHz"))
    with pytest.raises(GateFailed, match="does not compute the model: frame 3"):
        calibrate(measured().model_copy(update={"matches": False, "difference": "frame 3"}))
    narrow = load_target("cortex-m4").model_copy(update={"formats": ("tflite-int8",)})
    with pytest.raises(InputError, match="does not take c-int8"):
        calibrated(narrow, [artefact], report(artefact, measured()))


# The command.


def test_the_command_measures_a_board_and_calibrates_its_target(
    board: FakeBoard, artefact: Artefact, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new, out = tmp_path / "my-board.toml", tmp_path / "out.json"
    with plugged_in(board) as port:
        options = ["--on", f"serial:{port}", "--frames", FRAMES, "--target", "cortex-m4"]
        files = ["--calibrate", new, "-o", out]
        outcome = invoke(capfd, profile, artefact.path.parent, *options, *files)
    assert outcome.status in (0, 3), outcome.err
    reading = ProfileReport.model_validate_json(out.read_bytes()).subjects[0].readings[0]
    assert reading.matches is True
    made = load_target(str(new))
    assert [speed.format for speed in made.speeds] == ["c-int8"]
    assert made.clock_mhz == 100


def test_the_command_without_a_board(artefact: Artefact, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capfd, profile, artefact.path.parent, "--on", "serial:/dev/nowhere")
    assert outcome.status == 3
    assert "There is no port /dev/nowhere" in outcome.err
    outcome = invoke(capfd, profile, artefact.path.parent, "--on", "serial")
    assert outcome.status == 2
    assert "--on serial:PORT" in outcome.err
