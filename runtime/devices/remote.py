"""A shell on another machine, files to it and from it, and a folder there that never remains."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Protocol

from runtime.devices.children import Finished, run_tool
from targets.errors import GateUnavailable

ANSWER_SECONDS = 30.0  # for a command that does next to nothing, connecting included
TRANSFER_SECONDS = 600.0
USUAL_PATH = re.compile(r"/[\w./ +@=,-]+", re.ASCII)  # each shell reads these letters alike


class ConnectionLost(GateUnavailable):
    """The device answered before and does no longer."""


class Shell(Protocol):
    """A POSIX shell on a device.

    Every method raises GateUnavailable where the device cannot be reached; ``push`` and ``pull``
    also where the file cannot be written.
    """

    @property
    def name(self) -> str:
        """What stands in the names of figures: "ssh pi@host"."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Where programs may be put, as words of the shell, the first that works being taken."""

    def run(self, script: str, timeout: float = ANSWER_SECONDS) -> Finished:
        """Run a script of one line; ``status`` is that of the script."""

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device."""

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the device."""


@contextmanager
def working_folder(shell: Shell) -> Iterator[str]:
    """A new folder on the device for this user alone, in which programs can be started.

    It is removed at the end, after errors and interruptions too. Its name is made here, of 96
    random bits, so that it can be removed even if the answer to its creation is lost. Raises
    GateUnavailable where no folder of the shell can be used.
    """
    name = f"sordino-{secrets.token_hex(12)}"
    places = " ".join(f'"{folder}"' for folder in shell.folders)
    # A folder may be missing, full, or mounted so that nothing in it can be executed.
    create = (
        f"umask 077; for place in {places}; do folder=$place/{name}; "
        'test -n "$place" && mkdir "$folder" && echo "exit 0" > "$folder/try" && '
        'chmod 700 "$folder/try" && "$folder/try" && rm "$folder/try" && '
        'echo "folder=$folder" && exit 0; '
        'rm -rf "$folder"; done; exit 1'
    )
    remove = f'for place in {places}; do rm -rf "$place/{name}"; done'
    try:
        made = shell.run(create)
        lines = [line for line in made.output.splitlines() if line.startswith("folder=")]
        folder = lines[0].removeprefix("folder=") if lines else ""
        if made.status or not USUAL_PATH.fullmatch(folder):
            raise GateUnavailable(
                f"On {shell.name} there is no folder to put a program into: {reason(made)}",
                hint=f"Free some space, or allow programs in one of {', '.join(shell.folders)}.",
            )
        yield folder
    finally:
        with suppress(GateUnavailable):  # whatever ended the work is what is reported
            shell.run(remove)


def run_remote(name: str, command: Sequence[str], folder: Path, timeout: float) -> Finished:
    """Run a program of this machine that reaches the device ``name``.

    Raises ConnectionLost where it does not end in time.
    """
    try:
        return run_tool(command, folder, timeout)
    except GateUnavailable as error:
        raise ConnectionLost(
            f"{name} does not answer: {error.message}", hint="Is it on, and not asleep?"
        ) from error


def in_folder(folder: str, command: str) -> str:
    """A script that runs ``command`` in a folder of the device."""
    return f"cd {quote(folder)} && {command}"


def reason(finished: Finished) -> str:
    """The last line with which a program explained itself."""
    lines = [*finished.output.splitlines(), *finished.errors.splitlines()]
    spoken = [line.strip() for line in lines if line.strip()]
    return printable(spoken[-1]) if spoken else f"status {finished.status}, no reason given"


def printable(text: str) -> str:
    """What a device said, without characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:200]
