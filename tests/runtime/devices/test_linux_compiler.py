"""Which compiler makes a program for a device, and what is said where there is none."""

from __future__ import annotations

import platform
import shutil
from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest

from runtime.devices.children import Finished, ToolMissing
from runtime.devices.linux_compiler import PROCESSORS, Build, install
from targets.errors import GateUnavailable
from tests.runtime.devices.local_shell import LocalShell, write_program

PROGRAM_TEXT = "int main(void) { return VALUE; }\n"


@pytest.fixture
def build(tmp_path: Path) -> Build:
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "main.c").write_text(PROGRAM_TEXT)
    return Build(folder, "program", ("main.c",), ("VALUE=5",))


@pytest.fixture
def device(tmp_path: Path) -> LocalShell:
    (tmp_path / "device").mkdir()
    return LocalShell(tmp_path / "device")


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH; ziglang is not installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "chmod"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    return folder


def started(device: LocalShell) -> Finished:
    return device.run("chmod 700 program && ./program")


def pretend(folder: Path, name: str) -> None:
    """A compiler that writes its own name for a program."""
    write_program(
        folder / name,
        'case "$*" in *--version*) echo cc 9.8.7; exit ;; esac; '
        f'while [ "$1" != -o ]; do shift; done; echo exit {len(name)} > "$2"',
    )


@pytest.mark.skipif(platform.system() != "Linux", reason="not Linux")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc not installed")
def test_the_compiler_of_this_machine_serves_its_own_kind(build: Build, device: LocalShell) -> None:
    told = install(build, platform.machine(), device, str(device.root))
    assert told.endswith("-O3 -ffp-contract=off, static")
    assert started(device).status == 5


@pytest.mark.parametrize("machine", ["aarch64", "armv7l", "riscv64"])
def test_a_cross_compiler_serves_its_processor(
    build: Build, device: LocalShell, only: Path, machine: str
) -> None:
    name = f"{PROCESSORS[machine].gnu}-gcc"
    pretend(only, name)
    told = install(build, machine, device, str(device.root))
    assert told.startswith(f"{name} 9.8.7")
    assert started(device).status == len(name)


def test_a_compiler_of_debian_does_not_serve_the_oldest_arm(
    build: Build, device: LocalShell, only: Path
) -> None:
    pretend(only, "arm-linux-gnueabihf-gcc")
    with pytest.raises(ToolMissing, match="armv6l") as caught:
        install(build, "armv6l", device, str(device.root))
    assert "pip install ziglang" in caught.value.hint
    assert "apt" not in caught.value.hint


def test_the_compiler_of_the_device_comes_last(
    build: Build, device: LocalShell, only: Path, tmp_path: Path
) -> None:
    pretend(tmp_path / "there", "clang")
    device.path = str(tmp_path / "there")
    write_program(only / "aarch64-linux-gnu-gcc", "echo no headers: error: none >&2; exit 1")
    told = install(build, "aarch64", device, str(device.root))
    assert told.startswith("clang of the device")
    assert started(device).status == len("clang")
    assert (device.root / "main.c").exists()


def test_without_any_compiler_all_ways_are_named(
    build: Build, device: LocalShell, only: Path
) -> None:
    with pytest.raises(ToolMissing, match="no compiler for aarch64") as caught:
        install(build, "aarch64", device, str(device.root))
    assert caught.value.exit_code == 3
    for way in ("gcc-aarch64-linux-gnu", "pip install ziglang", "gcc on the device"):
        assert way in caught.value.hint
    with pytest.raises(ToolMissing, match="vax") as caught:
        install(build, "vax", device, str(device.root))
    assert "ziglang" not in caught.value.hint


def test_compilers_that_cannot_make_it_say_why(
    build: Build, device: LocalShell, only: Path
) -> None:
    write_program(only / "aarch64-linux-gnu-gcc", "echo stdio.h: fatal error: missing >&2; exit 1")
    with pytest.raises(GateUnavailable, match=r"stdio\.h: fatal error") as caught:
        install(build, "aarch64", device, str(device.root))
    assert "libc6-dev-arm64-cross" in caught.value.hint


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("ziglang") is None, reason="ziglang not installed")
@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-user not installed")
def test_ziglang_compiles_for_another_processor(
    build: Build, device: LocalShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = replace(PROCESSORS["aarch64"], gnu="")
    monkeypatch.setitem(PROCESSORS, "aarch64", alone)
    told = install(build, "aarch64", device, str(device.root))
    assert told.startswith("ziglang clang")
    assert device.run("chmod 700 program && qemu-aarch64 ./program").status == 5
