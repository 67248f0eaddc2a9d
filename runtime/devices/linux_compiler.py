"""Programs for a Linux or Android device, from whichever compiler there is.

They are linked statically, so that the C library of a device and its age do not matter.
In turn: the compiler of this machine where the device has the same processor; a cross compiler of
Debian; the Python package ``ziglang``, which compiles for all of them; the device's own compiler.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from shlex import quote

from runtime.devices.children import Finished, ToolMissing, run_tool
from runtime.devices.compiling import first_error
from runtime.devices.remote import Shell, in_folder, printable
from runtime.engines.native import find_compiler
from targets.errors import GateUnavailable

FLAGS = ("-std=c99", "-O3", "-ffp-contract=off")  # as for this machine: runtime.engines.native
COMPILE_SECONDS = 600.0  # ziglang compiles its C library the first time
VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Processor:
    """How compilers call it. ``gnu`` is empty where Debian's cross compiler makes other code."""

    zig: tuple[str, ...]
    gnu: str = ""
    packages: str = ""


_ARM = Processor(
    ("arm-linux-musleabihf",),
    "arm-linux-gnueabihf",
    "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross",
)
PROCESSORS = {  # by what uname -m says
    "aarch64": Processor(
        ("aarch64-linux-musl",),
        "aarch64-linux-gnu",
        "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    ),
    "armv8l": _ARM,
    "armv7l": _ARM,
    "armv6l": Processor(("arm-linux-musleabihf", "-mcpu=arm1176jzf_s")),
    "riscv64": Processor(
        ("riscv64-linux-musl",),
        "riscv64-linux-gnu",
        "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross",
    ),
    "x86_64": Processor(
        ("x86_64-linux-musl",), "x86_64-linux-gnu", "gcc-x86-64-linux-gnu libc6-dev-amd64-cross"
    ),
    "i686": Processor(
        ("x86-linux-musl",), "i686-linux-gnu", "gcc-i686-linux-gnu libc6-dev-i386-cross"
    ),
}


@dataclass(frozen=True)
class Build:
    """A program to be made of C files in ``folder``, with ``definitions`` (``NAME=1``)."""

    folder: Path
    program: str
    bodies: tuple[str, ...]
    definitions: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        sources = [f"./{body}" for body in self.bodies]
        defined = [f"-D{definition}" for definition in self.definitions]
        return [*FLAGS, *defined, "-I.", *sources, "-o", self.program]


def install(build: Build, machine: str, shell: Shell, remote: str) -> str:
    """Make a program for ``machine`` and put it into the folder ``remote`` of the device.

    Returns the compiler and its flags, in words. Raises ToolMissing where there is no compiler,
    GateUnavailable where none of those there are can make it.
    """
    failures = []
    for command in _compilers(machine):
        made = run_tool([*command, "-static", *build.arguments()], build.folder, COMPILE_SECONDS)
        if made.status == 0:
            shell.push(build.folder / build.program, f"{remote}/{build.program}")
            return f"{_version(command, build.folder)} {' '.join(FLAGS[1:])}, static"
        failures.append(f"{Path(command[0]).name}: {first_error(made)}")
    there = _compiler_there(shell)
    if there:
        made = _compile_there(build, there, shell, remote)
        if made.status == 0:
            return f"{there} of the device {' '.join(FLAGS[1:])}"
        failures.append(f"{there} of the device: {first_error(made)}")
    hint = _hint(machine)
    if failures:
        raise GateUnavailable(
            f"No program for {machine} can be made here ({printable(failures[0])}).", hint=hint
        )
    raise ToolMissing(f"There is no compiler for {machine}, here or on {shell.name}.", hint=hint)


def _compilers(machine: str) -> Iterator[list[str]]:
    """Commands of compilers on this machine, the preferred one first."""
    same = platform.system() == "Linux" and platform.machine() == machine
    if same and (own := find_compiler()):
        yield [own]
    processor = PROCESSORS.get(machine)
    if processor is None:
        return
    if processor.gnu and (cross := shutil.which(f"{processor.gnu}-gcc")):
        yield [cross]
    if util.find_spec("ziglang") is not None:
        target = ["-target", *processor.zig]
        # Its defaults are those of a debugging build.
        yield [sys.executable, "-m", "ziglang", "cc", *target, "-fno-sanitize=all"]


def _hint(machine: str) -> str:
    processor = PROCESSORS.get(machine)
    ways = [f"sudo apt install {processor.packages}"] if processor and processor.packages else []
    ways += ["pip install ziglang"] if processor else []
    return f"{', or '.join([*ways, 'install gcc on the device'])}."


def _version(command: Sequence[str], folder: Path) -> str:
    said = run_tool([*command[:4], "--version"], folder, COMPILE_SECONDS).output
    numbers = VERSION.findall(said.partition("\n")[0])
    number = numbers[-1] if numbers else "of unknown version"
    if "ziglang" not in command:
        return f"{Path(command[0]).name} {number}"
    return f"ziglang clang {number} {' '.join(command[5:-1])}"


def _compiler_there(shell: Shell) -> str:
    found = shell.run("command -v gcc || command -v clang || command -v cc")
    lines = found.output.split()
    return lines[0].rpartition("/")[2] if found.status == 0 and lines else ""


def _compile_there(build: Build, compiler: str, shell: Shell, remote: str) -> Finished:
    for source in sorted(build.folder.glob("*.[ch]")):
        shell.push(source, f"{remote}/{source.name}")
    arguments = " ".join(quote(argument) for argument in build.arguments())
    return shell.run(in_folder(remote, f"{quote(compiler)} {arguments}"), COMPILE_SECONDS)
