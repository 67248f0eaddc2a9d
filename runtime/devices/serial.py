"""Microcontrollers on a serial port that run the bench firmware of an artefact."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from runtime.artefact import Artefact
from runtime.devices.bench_reading import reading_of
from runtime.devices.bench_session import Session, check_features, check_shapes, choose
from runtime.devices.children import ToolMissing
from runtime.devices.golden import golden_vectors
from runtime.profiling.backends import Findings, Request
from runtime.profiling.records import Reading, Unavailable
from targets.errors import GateUnavailable, InputError

DEFAULT_BAUD = 115_200
_POLL_SECONDS = 0.02
_WRITE_SECONDS = 20.0


def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
    """Stream golden frames to the bench on the port ``request.address`` and read back what it took.

    A board holds one model: of several artefacts only that one is measured. Raises InputError for
    an address that is none, an artefact that is not C and a board with another model; ToolMissing
    without pyserial; GateUnavailable where the port cannot be opened or the board does not answer.
    """
    port, baud = parse_address(request.address)
    models = c_models(artefacts)
    with closing(SerialWire(port, baud)) as wire:
        session = Session(wire)
        hello = session.hello()
        chosen = choose(hello, {name: a.sidecar.model.sha256 for name, a in models.items()}, port)
        vectors = golden_vectors(models[chosen], hello.frames or request.frames)
        check_shapes(hello, vectors, port)
        if hello.output_only:
            check_features(hello, vectors, port)
            run = session.listen(hello, hello.frames)
        else:
            # The golden masks took seconds: a board with a watchdog may have begun anew.
            run = session.ask(session.hello(), vectors)
    found = reading_of(models[chosen], vectors, run, "serial", port)
    return findings_of(artefacts, models[chosen], found)


def parse_address(address: str) -> tuple[str, int]:
    """Port and baud rate of ``port[@baud]``. Raises InputError."""
    port, at, baud = address.rpartition("@")
    if not at:
        port, baud = address, str(DEFAULT_BAUD)
    if not port:
        raise InputError(
            "No serial port is named.", hint=f"Write --on serial:PORT[@BAUD]. {_ports_hint()}"
        )
    if not baud.isascii() or not baud.isdigit() or not 50 <= int(baud) <= 20_000_000:
        raise InputError(
            f"{baud!r} is not a baud rate.", hint=f"Write --on serial:{port}@{DEFAULT_BAUD}."
        )
    return port, int(baud)


def c_models(artefacts: Sequence[Artefact]) -> dict[str, Artefact]:
    """The C artefacts by name. Raises InputError where there is none."""
    models = {a.sidecar.name: a for a in artefacts if a.path.suffix.lower() == ".c"}
    if not models:
        names = ", ".join(artefact.path.name for artefact in artefacts)
        raise InputError(
            f"A bench firmware runs generated C, and {names} is none.",
            hint="Export the model as c-int8 as well.",
        )
    return models


def findings_of(artefacts: Sequence[Artefact], measured: Artefact, found: Reading) -> Findings:
    """``found`` for the artefact that is on the board, and for the others that it is not."""
    missing = Unavailable(
        name=f"step [{found.backend} {found.place}]",
        reason=f"the board runs {measured.sidecar.name}",
    )
    other = Reading(backend=found.backend, place=found.place, unavailable=(missing,))
    return Findings(tuple((found,) if artefact == measured else (other,) for artefact in artefacts))


class SerialWire:
    """A serial port, opened for this process alone. Raises GateUnavailable and ToolMissing."""

    def __init__(self, port: str, baud: int) -> None:
        self.name = port
        self._serial = _open(port, baud)

    def read(self, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        try:
            while True:
                received: bytes = self._serial.read(max(1, self._serial.in_waiting))
                if received or time.monotonic() >= deadline:
                    return received
        except (OSError, TypeError) as error:  # pyserial: a port that vanishes may be None
            raise self._lost() from error

    def write(self, content: bytes) -> None:
        try:
            self._serial.write(content)
        except OSError as error:
            raise self._lost() from error

    def close(self) -> None:
        with suppress(OSError):
            self._serial.close()

    def _lost(self) -> GateUnavailable:
        return GateUnavailable(
            f"{self.name} went away in the middle.",
            hint="Check cable and power of the board, then run it again.",
        )


def _open(port: str, baud: int) -> Any:
    serial = _pyserial()
    try:
        opened = serial.Serial(
            port, baud, timeout=_POLL_SECONDS, write_timeout=_WRITE_SECONDS, exclusive=True
        )
    except ValueError as error:  # a rate that the port cannot have
        raise InputError(f"{port} cannot be opened at {baud} baud: {error}.") from error
    except OSError as error:
        raise _refused(port, error) from error
    return opened


def _pyserial() -> Any:
    try:
        import serial
    except ModuleNotFoundError as error:
        raise ToolMissing(
            "Serial ports need the package pyserial, which is not installed.",
            hint="pip install 'sordino[profile]'",
        ) from error
    return serial


def _refused(port: str, error: OSError) -> GateUnavailable:
    """Why a port could not be opened, in words."""
    if error.errno == errno.ENOENT:
        return GateUnavailable(f"There is no port {port}.", hint=_ports_hint())
    if error.errno in (errno.EACCES, errno.EPERM):
        return GateUnavailable(
            f"You may not open {port}.",
            hint="sudo usermod -aG dialout $USER, then log in again.",
        )
    busy = error.errno in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error)
    if busy:
        return GateUnavailable(
            f"{port} is in use by another program.", hint="Close its terminal or monitor."
        )
    if "configure port" in str(error):  # pyserial: neither a terminal nor a port
        return GateUnavailable(f"{port} is no serial port.", hint=_ports_hint())
    reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return GateUnavailable(f"{port} cannot be opened: {reason}.", hint=_ports_hint())


def _ports_hint() -> str:
    """The serial ports of this machine, in a sentence."""
    try:
        from serial.tools.list_ports import comports
    except ModuleNotFoundError:
        return "Name the port of the board, such as /dev/ttyACM0."
    found = [
        port.device for port in comports() if Path(port.device).exists() and port.hwid != "n/a"
    ]
    return (
        f"Ports here: {', '.join(sorted(found))}."
        if found
        else "No board is seen on USB: check cable and power."
    )
