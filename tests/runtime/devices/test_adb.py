"""Android devices: a stand-in that speaks adb and executes aarch64 programs under qemu-user."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.artefact import Artefact
from runtime.contract import StftContract
from runtime.devices import adb
from runtime.devices.children import ToolMissing
from runtime.devices.remote import ConnectionLost
from runtime.profiling.backends import Request
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime import tiny_models
from tests.runtime.devices import fake_adb
from tests.runtime.devices.local_shell import write_program
from tests.runtime.test_native_audio import c_of, listening
from tests.runtime.tiny_c import write_c_artefact

QUICK = Request(seconds=0.05, frames=8)
TOOLS = ("qemu-aarch64", "aarch64-linux-gnu-gcc", "gcc")
needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"{' or '.join(TOOLS)} not installed"
)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a connected device; its adb is the only one there is."""
    folder = tmp_path / "phone"
    fake_adb.install(folder)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("SORDINO_BENCHMARK_MODEL", raising=False)
    return folder


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    return write_c_artefact(tmp_path / "tiny-c")


@needs_tools
def test_an_aarch64_program_gives_the_golden_masks_and_no_times_of_an_emulator(
    phone: Path, artefact: Artefact
) -> None:
    ((reading,),) = adb.measure([artefact], QUICK).readings
    assert reading.matches
    assert (reading.backend, reading.place) == ("adb", "SN1")
    assert reading.figures == ()
    assert reading.operators == ()
    names = {missing.name for missing in reading.unavailable}
    assert {"step, median [adb SN1]", "step, p99 [adb SN1]"} <= names
    times = [missing for missing in reading.unavailable if "audio" not in missing.name]
    assert all("emulated" in missing.reason for missing in times)
    assert not list((phone / "root").iterdir())


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite-int8", "tflite-fp32"])
def test_network_and_audio_on_aarch64_are_those_of_this_machine(
    phone: Path, tmp_path: Path, target: tiny_models.Format
) -> None:
    generated = c_of(listening(tmp_path, target, StftContract()))
    ((reading,),) = adb.measure([generated], QUICK).readings
    assert reading.matches
    assert "hop of audio, median [adb SN1]" in {part.name for part in reading.unavailable}


@needs_tools
@pytest.mark.slow
def test_adb_without_exit_codes_and_with_carriage_returns(phone: Path, artefact: Artefact) -> None:
    (phone / "faults").write_text("old")
    ((reading,),) = adb.measure([artefact], QUICK).readings
    assert reading.matches


@needs_tools
@pytest.mark.slow
def test_a_crash_on_the_device_is_reported(phone: Path, tmp_path: Path) -> None:
    mortal = write_c_artefact(tmp_path / "mortal", life=20)
    (phone / "faults").write_text("old")
    with pytest.raises(GateFailed, match="crashed on adb SN1"):
        adb.measure([mortal], QUICK)
    assert not list((phone / "root").iterdir())


@needs_tools
@pytest.mark.parametrize(
    "moment",
    [
        "features.bin",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("linux_bench", "results")),
    ],
)
def test_a_device_that_goes_away_in_the_middle(
    phone: Path, artefact: Artefact, moment: str
) -> None:
    (phone / "faults").write_text(f"gone={moment}")
    with pytest.raises(ConnectionLost, match="adb SN1 was lost") as caught:
        adb.measure([artefact], QUICK)
    assert caught.value.exit_code == 3


@needs_tools
@pytest.mark.parametrize("age", ["", "old"])
def test_a_full_device(phone: Path, artefact: Artefact, age: str) -> None:
    (phone / "faults").write_text(f"full {age}")
    with pytest.raises(GateUnavailable, match="No space left"):
        adb.measure([artefact], QUICK)
    assert not list((phone / "root").iterdir())


@needs_tools
@pytest.mark.slow
def test_a_program_that_the_device_cannot_execute(phone: Path, artefact: Artefact) -> None:
    (phone / "faults").write_text("foreign")
    with pytest.raises(GateUnavailable, match="not executable"):
        adb.measure([artefact], QUICK)


@pytest.mark.parametrize(
    ("listing", "message", "hint"),
    [
        ("", "No Android device here", "USB debugging"),
        ("SN1\tunauthorized\n", "unauthorized", "allow USB debugging"),
        ("SN1\toffline\n", "offline", "reconnect"),
        ("SN1\tno permissions (missing udev rules?); see [http://x]\n", "no permissions", "user"),
        ("SN1\trecovery\n", "recovery", "Start Android"),
        ("SN1\tstrange\x1b[31m\n", r"strange \[31m", "adb devices"),
    ],
)
def test_a_device_that_is_not_ready(phone: Path, listing: str, message: str, hint: str) -> None:
    (phone / "devices").write_text(listing)
    with pytest.raises(GateUnavailable, match=message) as caught:
        adb.measure([], QUICK)
    assert caught.value.exit_code == 3
    assert hint in caught.value.hint


def test_of_several_devices_one_must_be_named(phone: Path) -> None:
    (phone / "devices").write_text("SN1\tdevice\nSN2\tdevice\nSN3\toffline\n")
    with pytest.raises(InputError, match="2 Android devices") as caught:
        adb.measure([], QUICK)
    assert "--on adb:SN2" in caught.value.hint
    with pytest.raises(GateUnavailable, match="SN4 is connected"):
        adb.measure([], Request(address="SN4"))
    assert adb.measure([], Request(address="SN2")).readings == ()


def test_serial_numbers_that_are_none(phone: Path) -> None:
    for address in ("-s", "a b", "a\nb", " "):
        with pytest.raises(InputError, match="no serial number"):
            adb.measure([], Request(address=address))


def test_a_serial_number_reaches_no_shell(phone: Path, tmp_path: Path) -> None:
    serial = f"$(touch${{IFS}}{tmp_path}/touched);`id`'\""
    (phone / "devices").write_text(f"{serial}\tdevice\n")
    assert adb.measure([], Request(address=serial)).readings == ()
    assert not (tmp_path / "touched").exists()


def test_adb_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="adb") as caught:
        adb.measure([], QUICK)
    assert "apt install adb" in caught.value.hint


def test_adb_that_does_not_work(phone: Path) -> None:
    write_program(phone / "adb", "echo cannot connect to daemon >&2; exit 1")
    with pytest.raises(GateUnavailable, match="cannot connect to daemon"):
        adb.measure([], QUICK)


def test_status_and_output_of_a_command(phone: Path) -> None:
    shell = adb.AdbShell(str(phone / "adb"), "SN1", phone)
    for age in ("", "old"):
        (phone / "faults").write_text(age)
        done = shell.run("echo one; echo two; exit 7")
        assert (done.status, done.output.split()) == (7, ["one", "two"])
        assert shell.run("printf sordino-status=9").status == 0


def test_a_model_for_litert_without_its_benchmark_is_unavailable(
    phone: Path, tmp_path: Path
) -> None:
    write_program(phone / "bin" / "grep", "exit 1")  # /proc/cpuinfo is that of this machine
    model = tiny_models.write_artefact(tmp_path)
    ((reading,),) = adb.measure([model], QUICK).readings
    assert reading.figures == ()
    (missing,) = reading.unavailable
    assert missing.name == "step [adb SN1]"
    assert "no benchmark_model" in missing.reason


def test_a_device_that_hangs(phone: Path) -> None:
    shell = adb.AdbShell(str(phone / "adb"), "SN1", phone)
    with pytest.raises(ConnectionLost, match="adb SN1 does not answer"):
        shell.run("sleep 30", 0.5)


def test_an_emulator_of_android_gives_no_times(phone: Path, tmp_path: Path) -> None:
    write_program(phone / "bin" / "getprop", 'case "$1" in ro.boot.qemu) echo 1 ;; esac')
    model = tiny_models.write_artefact(tmp_path)
    ((reading,),) = adb.measure([model], QUICK).readings
    assert "emulated" in reading.unavailable[0].reason
