"""Android devices, through adb.

What a command printed ends with a line of its status: adb before Android 7 has none of its own, and
a device that goes away in the middle leaves no such line.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.artefact import Artefact
from runtime.devices.children import Finished, find_tool, run_tool
from runtime.devices.linux import measure_on
from runtime.devices.remote import (
    ANSWER_SECONDS,
    TRANSFER_SECONDS,
    ConnectionLost,
    printable,
    reason,
    run_remote,
)
from runtime.profiling.backends import Findings, Request
from targets.errors import GateUnavailable, InputError

STATUS = re.compile(r"\n?sordino-status=(\d+)\s*\Z")
SERIAL = re.compile(r"[^\s-][^\s]*")
DEVICE = "device"  # what adb calls the state of one that can be used
HINTS = {
    "unauthorized": "Unlock it and allow USB debugging for this computer.",
    "offline": "Plug it in again, or `adb reconnect offline`.",
    "no": "This user may not open it: see https://developer.android.com/tools/device.",
    "authorizing": "Wait a moment and try again.",
    "recovery": "Start Android on it.",
    "sideload": "Start Android on it.",
    "bootloader": "Start Android on it.",
}


@dataclass(frozen=True)
class AdbShell:
    """A shell on the device ``serial``; ``folder`` is for adb itself, on this machine."""

    program: str
    serial: str
    folder: Path

    @property
    def name(self) -> str:
        return f"adb {self.serial}"

    @property
    def folders(self) -> tuple[str, ...]:
        return ("/data/local/tmp",)

    def run(self, script: str, timeout: float = ANSWER_SECONDS) -> Finished:
        marked = f"({script}); status=$?; echo; echo sordino-status=$status"
        finished = self._adb("shell", marked, timeout=timeout)
        output = finished.output.replace("\r\n", "\n")
        found = STATUS.search(output)
        if found is None:
            raise self._lost(finished)
        return Finished(int(found[1]), output[: found.start()], finished.errors)

    def push(self, local: Path, remote: str) -> None:
        pushed = self._adb("push", str(local), remote, timeout=TRANSFER_SECONDS)
        # Old versions tell a failure in words alone.
        if pushed.status or "failed to copy" in pushed.output + pushed.errors:
            self._refuse_if_gone(pushed)
            raise GateUnavailable(
                f"{local.name} cannot be written on {self.name}: {reason(pushed)}",
                hint="Is there space left in /data/local/tmp?",
            )

    def pull(self, remote: str, local: Path) -> None:
        pulled = self._adb("pull", remote, str(local), timeout=TRANSFER_SECONDS)
        if pulled.status or not local.is_file():
            self._refuse_if_gone(pulled)
            raise GateUnavailable(f"{local.name} cannot be read on {self.name}: {reason(pulled)}")

    def _adb(self, *arguments: str, timeout: float) -> Finished:
        command = [self.program, "-s", self.serial, *arguments]
        return run_remote(self.name, command, self.folder, timeout)

    def _refuse_if_gone(self, finished: Finished) -> None:
        said = finished.output + finished.errors
        if re.search(r"device .*(not found|offline|unauthorized)|no devices|error: closed", said):
            raise self._lost(finished)

    def _lost(self, finished: Finished) -> ConnectionLost:
        said = Finished(finished.status, "", finished.errors or finished.output)
        return ConnectionLost(
            f"The connection to {self.name} was lost: {reason(said)}",
            hint="Check the cable and `adb devices`, then run it again.",
        )


def find_device(program: str, address: str, folder: Path) -> str:
    """The serial number of the device to use: ``address``, or the only one there is.

    Raises GateUnavailable, with what to do, where it is not there or not ready, InputError where
    there are several to choose from.
    """
    # The first command starts a server, which serves others too and stays.
    run_tool([program, "start-server"], folder, ANSWER_SECONDS, leaves_daemon=True)
    listed = run_tool([program, "devices"], folder, ANSWER_SECONDS)
    if listed.status:
        raise GateUnavailable(
            f"adb does not work here: {reason(listed)}", hint="Try `adb kill-server`, then again."
        )
    states = _states(listed.output)
    if not address:
        ready = [serial for serial, state in states.items() if state == DEVICE]
        if len(ready) > 1:
            raise InputError(
                f"{len(ready)} Android devices are connected.",
                hint=f"Choose one: {', '.join(f'--on adb:{serial}' for serial in ready)}.",
            )
        address = next(iter([*ready, *states]), "")
    if address not in states:
        raise GateUnavailable(
            f"No Android device {address} is connected." if address else "No Android device here.",
            hint="Switch on USB debugging in its developer options; `adb devices` must list it.",
        )
    if states[address] != DEVICE:
        state = states[address]
        raise GateUnavailable(
            f"The Android device {address} is not ready ({printable(state)}).",
            hint=HINTS.get(state.partition(" ")[0], "`adb devices` must say `device`."),
        )
    return address


def _states(listing: str) -> dict[str, str]:
    """Serial number → state, from what ``adb devices`` prints."""
    rows = (line.split("\t", 1) for line in listing.splitlines() if "\t" in line)
    return {serial.strip(): state.strip() for serial, state in rows}


def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
    """Time artefacts on the Android device ``request.address``, the only one if that is empty.

    Raises ToolMissing without adb or without a compiler for the device, InputError for a core that
    it does not have, GateUnavailable where it is not ready, goes away, or a program does not run.
    """
    if request.address and not SERIAL.fullmatch(request.address):
        raise InputError(
            f"{request.address!r} is no serial number.", hint="`adb devices` lists them."
        )
    program = find_tool("adb", "adb")
    with tempfile.TemporaryDirectory(prefix="sordino-adb-") as temporary:
        folder = Path(temporary)
        shell = AdbShell(program, find_device(program, request.address, folder), folder)
        return measure_on(shell, "adb", shell.serial, artefacts, request, folder)
