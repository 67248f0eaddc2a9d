"""What devices say of themselves, and where a program can be put on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.devices.children import Finished
from runtime.devices.linux_device import read_device
from runtime.devices.remote import working_folder
from targets.errors import GateUnavailable, InputError
from tests.runtime.devices.local_shell import LocalShell, write_program

RASPBERRY = """\
machine=aarch64
kernel=Linux 6.6.31+rpt-rpi-v8
boot=11111111-2222-3333-4444-555555555555
tree=Raspberry Pi 4 Model B Rev 1.4\x00
board=
processor=
allowed=Cpus_allowed_list:\t0-3
maker=
fastest.0=1800000
governor.0=ondemand
fastest.3=1800000
governor.3=ondemand
capacity.0=
capacity.3=
"""
PHONE = """\
machine=aarch64\r
kernel=Linux 5.15.110-android14\r
tree=
allowed=Cpus_allowed_list:\t0-2,4,8
maker=Maker
product=Phone 8
soc=SoC G3
release=14
virtual=
capacity.0=160
capacity.1=160
capacity.2=160
capacity.4=498
capacity.8=1024
fastest.8=2914000
governor.8=sched_pixel
capacity.9=1024
"""


class Saying(LocalShell):
    """A device that answers every script with the same words."""

    def __init__(self, words: str) -> None:
        super().__init__(Path())
        self.words = words

    def run(self, script: str, timeout: float = 0.0) -> Finished:
        return Finished(0, self.words, "")


def test_a_board_of_the_device_tree() -> None:
    device = read_device(Saying(RASPBERRY))
    assert str(device) == "Raspberry Pi 4 Model B Rev 1.4 (aarch64, Linux 6.6.31+rpt-rpi-v8)"
    assert [core.number for core in device.cores] == [0, 1, 2, 3]
    assert device.core(None).number == 3
    assert device.core(0).governor == "ondemand"
    assert not device.is_this_machine
    assert not device.emulated


def test_the_fastest_core_that_programs_may_use_is_the_default() -> None:
    device = read_device(Saying(PHONE))
    assert device.model == "Maker Phone 8, SoC G3"
    assert device.kernel == "Linux 5.15.110-android14, Android 14"
    core = device.core(None)
    assert (core.number, core.capacity, core.fastest_khz) == (8, 1024, 2_914_000)
    with pytest.raises(InputError, match="core 9") as caught:
        device.core(9)
    assert "0, 1, 2, 4, 8" in caught.value.hint


def test_an_emulator_of_android_is_known_as_one() -> None:
    assert read_device(Saying(PHONE.replace("virtual=", "virtual=1"))).emulated


def test_an_emulated_processor_is_known_by_the_files_of_the_kernel() -> None:
    vendor = "vendor=vendor_id : AuthenticAMD\n"
    assert read_device(Saying(RASPBERRY + vendor)).emulated
    assert not read_device(Saying("machine=x86_64\nkernel=Linux 6.1\n" + vendor)).emulated


@pytest.mark.parametrize("words", ["", "machine=\nkernel=", "machine=arm64\nkernel=Darwin 23.1.0"])
def test_what_is_no_linux(words: str) -> None:
    with pytest.raises(GateUnavailable, match="no Linux"):
        read_device(Saying(words))


def test_words_of_a_device_cannot_reach_the_terminal() -> None:
    device = read_device(Saying("machine=x86_64\nkernel=Linux 1\ntree=a\x1b[2Jb\x07\n"))
    assert device.model == "a [2Jb"


@given(st.text(max_size=200))
def test_strange_answers_are_refused_or_understood(text: str) -> None:
    try:
        device = read_device(Saying(f"machine=x\nkernel=Linux\nallowed={text}\n{text}"))
    except GateUnavailable:
        return
    assert device.cores
    assert device.core(None) in device.cores


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="not Linux")
def test_this_machine_is_known_as_itself(tmp_path: Path) -> None:
    assert read_device(LocalShell(tmp_path)).is_this_machine


class Several(LocalShell):
    """A device with more folders than one."""

    @property
    def folders(self) -> tuple[str, ...]:
        return ("$NOTHING", *(str(self.root / name) for name in ("none", "one", "two")))


def test_the_first_folder_in_which_programs_start_is_taken(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    # A folder mounted without permission to execute is one where chmod does not help.
    write_program(
        tmp_path / "bin" / "chmod",
        f'case "$2" in */one/*) ;; *) exec {shutil.which("chmod")} "$@" ;; esac',
    )
    with working_folder(Several(tmp_path, path=str(tmp_path / "bin"))) as folder:
        assert Path(folder).parent == tmp_path / "two"
        assert list(Path(folder).iterdir()) == []
        assert list((tmp_path / "one").iterdir()) == []
    assert list((tmp_path / "two").iterdir()) == []


def test_no_folder_to_put_a_program_into(tmp_path: Path) -> None:
    with (
        pytest.raises(GateUnavailable, match="no folder to put a program into"),
        working_folder(Several(tmp_path)),
    ):
        pass


@pytest.mark.parametrize("place", ["relative", "/a'b", "/a\\b", "/a\x1bb", ""])
def test_a_folder_that_a_device_makes_up_is_refused(place: str) -> None:
    with (
        pytest.raises(GateUnavailable, match="no folder"),
        working_folder(Saying(f"folder={place}\n")),
    ):
        pass


def test_what_is_in_the_folder_goes_after_an_error(tmp_path: Path) -> None:
    def failing() -> None:
        with working_folder(LocalShell(tmp_path)) as folder:
            (Path(folder) / "file").write_text("content")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_is_lost_leaves_no_folder(tmp_path: Path) -> None:
    class Losing(LocalShell):
        def run(self, script: str, timeout: float = 30.0) -> Finished:
            done = super().run(script, timeout)
            if len(self.scripts) == 1:
                raise KeyboardInterrupt
            return done

    with pytest.raises(KeyboardInterrupt), working_folder(Losing(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []
