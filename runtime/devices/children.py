"""Programs of others, run with a time limit and without remains."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from targets.errors import GateUnavailable

PATIENCE = 2.0  # seconds that a child has to end by itself
SPARE_SECONDS = 5  # of processor time, beyond the limit, before the kernel ends a child


class ToolMissing(GateUnavailable):
    """A program that a device needs is not installed."""


@dataclass(frozen=True)
class Finished:
    """How a program ended; ``status`` is negative for a signal."""

    status: int
    output: str
    errors: str


def find_tool(name: str, packages: str) -> str:
    """The path of program ``name``. Raises ToolMissing, which names the Debian ``packages``."""
    path = shutil.which(name)
    if path is None:
        raise ToolMissing(
            f"The program {name} is not installed here.",
            hint=f"sudo apt install {packages}; `sordino doctor` lists what this machine has.",
        )
    return path


def run_tool(
    command: Sequence[str],
    folder: Path,
    timeout: float,
    *,
    leaves_daemon: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program in ``folder``, for ``timeout`` seconds at most, with ``environment`` besides
    this process's own. Temporary files of it go into ``folder``.

    It gets a process group of its own, so that what it started ends with it, and a limit of
    processor time, so that it ends even if this process is killed first. One that ``leaves_daemon``
    behind gets no such limit, which the daemon would keep. Raises GateUnavailable when it does not
    end in time or cannot be started.
    """
    try:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {}), "LC_ALL": "C", "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )
    except OSError as error:
        raise GateUnavailable(f"{Path(command[0]).name} cannot be started: {error}.") from error
    with child:
        try:
            if not leaves_daemon:
                _limit_processor_time(child.pid, timeout)
            output, errors = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise GateUnavailable(
                f"{Path(command[0]).name} did not end within {timeout:g} s.",
                hint="Give fewer frames, or allow more time.",
            ) from error
        finally:
            _end_group(child)
    return Finished(child.returncode, output, errors)


def _limit_processor_time(pid: int, timeout: float) -> None:
    if hasattr(resource, "prlimit"):  # Linux
        seconds = int(timeout) + SPARE_SECONDS
        # It may have ended already, or have a lower limit than this one.
        with suppress(ProcessLookupError, PermissionError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))


def _end_group(child: subprocess.Popen[str]) -> None:
    """End what has not ended. It is asked first: it may have started programs in groups of their
    own, as a benchmark does with a compiler."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
