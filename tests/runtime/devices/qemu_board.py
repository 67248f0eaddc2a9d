"""The example of a bench folder in QEMU, its UART on a pseudo-terminal."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 30.0  # seconds until QEMU says where its port is
_PORT = re.compile(rb"redirected to (\S+)")

needs_qemu = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm")),
    reason="make, gcc-arm-none-eabi and qemu-system-arm are not all installed",
)


@dataclass(frozen=True)
class Running:
    """A simulated board: its port, and the process to end."""

    port: str
    process: subprocess.Popen[bytes]

    def unplug(self) -> None:
        """The board is gone, and its port with it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def running(folder: Path, *options: str) -> AbstractContextManager[Running]:
    """``make run`` with options, for as long as the block takes."""
    return started(["make", "-s", "-C", str(folder), "run", *options])


@contextmanager
def started(command: Sequence[str]) -> Iterator[Running]:
    """A command that starts QEMU with its UART on a pseudo-terminal."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        board = Running("", process)
        try:
            board = Running(_port(process), process)
            yield board
        finally:
            if process.poll() is None:
                board.unplug()


def built(folder: Path, *options: str) -> None:
    """``make`` with options; the test fails with what the compiler says."""
    made = subprocess.run(
        ["make", "-s", "-C", str(folder), *options], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert "warning" not in made.stderr, made.stderr


def compiled(command: Sequence[str], folder: Path) -> None:
    """Run a compiler, which has to be content."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def _port(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    said = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not select.select([process.stdout], [], [], 1.0)[0]:
            continue
        more = os.read(process.stdout.fileno(), 4096)
        said += more
        if found := _PORT.search(said):
            return found[1].decode()
        if not more:
            break
    raise AssertionError(f"QEMU did not say its port: {said.decode(errors='replace')}")
