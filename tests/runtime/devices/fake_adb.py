"""A stand-in for adb with an Android device behind it: a folder of this machine, run as a program.

It speaks adb's command line (``devices``, ``-s``, ``shell``, ``push``, ``pull``). Its device calls
itself aarch64 and executes such programs through qemu-user. ``FAKE_ADB`` names its folder::

    devices   what `adb devices` lists
    faults    words: old (adb before Android 7), full (no space), foreign (cannot execute programs),
              gone=TEXT (goes away at a command with TEXT in it)
    root/     /data/local/tmp of the device
    bin/      programs of the device
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(os.environ.get("FAKE_ADB", ""))
ROOT = HOME / "root"
TEMPORARY = "/data/local/tmp"
AARCH64 = (183).to_bytes(2, "little")  # e_machine of an ELF header


def main(arguments: list[str]) -> int:
    faults = (HOME / "faults").read_text().split()
    listing = (HOME / "devices").read_text()
    if arguments == ["start-server"]:
        return 0
    if arguments == ["devices"]:
        sys.stdout.write(f"List of devices attached\n{listing}\n")
        return 0
    if arguments[0] != "-s" or f"{arguments[1]}\tdevice" not in listing.splitlines():
        sys.stderr.write(f"error: device '{arguments[1]}' not found\n")
        return 1
    verb, rest = arguments[2], arguments[3:]
    gone = [fault.removeprefix("gone=") for fault in faults if fault.startswith("gone=")]
    if any(text in " ".join(rest) for text in gone):
        (HOME / "devices").write_text("")
        sys.stderr.write("error: closed\n")
        return 1
    return {"shell": shell, "push": push, "pull": pull}[verb](rest, faults)


def shell(arguments: list[str], faults: list[str]) -> int:
    """adb joins its arguments with blanks and leaves the rest to the device's shell."""
    command = _on_host(" ".join(arguments))
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        env={"PATH": f"{HOME / 'bin'}:/usr/bin:/bin", "HOME": "/"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if "old" in faults else subprocess.PIPE,
        check=False,
    )
    output = _on_device(done.stdout.decode())
    if "old" in faults:
        sys.stdout.write(output.replace("\n", "\r\n"))
        return 0
    sys.stdout.write(output)
    sys.stderr.write(_on_device(done.stderr.decode()))
    return done.returncode


def push(arguments: list[str], faults: list[str]) -> int:
    source, target = Path(arguments[0]), Path(_on_host(arguments[1]))
    if "full" in faults:
        words = f"failed to copy '{source}' to '{arguments[1]}': No space left on device\n"
        sys.stderr.write(words if "old" in faults else f"adb: error: {words}")
        return 0 if "old" in faults else 1
    shutil.copyfile(source, target)
    content = source.read_bytes()
    if content[:4] == b"\x7fELF" and content[18:20] == AARCH64:
        program = target.with_name(f"{target.name}.aarch64")
        target.rename(program)
        program.chmod(0o755)
        target.write_text(f'exec qemu-aarch64 {program} "$@"\n')
        if "foreign" in faults:
            target.write_text(
                f"echo {target.name}: not executable: 64-bit ELF file >&2; exit 126\n"
            )
    sys.stdout.write(f"{source}: 1 file pushed\n")
    return 0


def pull(arguments: list[str], faults: list[str]) -> int:
    shutil.copyfile(_on_host(arguments[0]), arguments[1])
    sys.stdout.write(f"{arguments[0]}: 1 file pulled\n")
    return 0


def install(folder: Path, serial: str = "SN1", faults: str = "", state: str = "device") -> None:
    """Set up a device and the program ``folder/adb`` that reaches it."""
    (folder / "root").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "devices").write_text(f"{serial}\t{state}\n")
    (folder / "faults").write_text(faults)
    _program(folder / "adb", f'FAKE_ADB={folder} exec {sys.executable} -I {__file__} "$@"')
    kernel = 'case "$*" in -m) echo aarch64 ;; *) echo Linux 5.10.0 ;; esac'
    _program(folder / "bin" / "uname", kernel)
    model = 'case "$1" in ro.product.model) echo Stand-in 1 ;; *) echo ;; esac'
    _program(folder / "bin" / "getprop", model)


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _on_host(text: str) -> str:
    return re.sub(re.escape(TEMPORARY) + r"\b", str(ROOT), text)


def _on_device(text: str) -> str:
    return text.replace(str(ROOT), TEMPORARY)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
