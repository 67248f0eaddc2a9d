"""Microcontrollers whose bench firmware writes to trace port 0, read through pin SWO."""

from __future__ import annotations

import os
import re
import select
import socket
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

from runtime.artefact import Artefact
from runtime.devices.bench_reading import reading_of
from runtime.devices.bench_session import (
    Ended,
    Listener,
    check_features,
    check_shapes,
    choose,
)
from runtime.devices.golden import golden_vectors
from runtime.devices.itm import ItmDecoder
from runtime.devices.serial import SerialWire, c_models, findings_of
from runtime.profiling.backends import Findings, Request
from targets.errors import GateUnavailable, InputError

STIMULUS_PORT = 0
_CONNECT_SECONDS = 5.0
_CHUNK = 1 << 16
_TCP = re.compile(r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<port>\d{1,5})")
_SERIAL = re.compile(r".+@\d+")

Read = Callable[[float], bytes]


def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
    """Read the frames of a bench built with BENCH_OUTPUT_ONLY from a trace of its SWO pin.

    The address is a file or fifo with the bytes of the trace, ``host:port`` of a TCP server that
    hands them out, or ``port@baud`` of a serial adapter. Raises InputError for an address or
    artefact that it cannot take and for a board with another model, GateUnavailable where nothing
    can be opened or frames are missing.
    """
    place = request.address
    models = c_models(artefacts)
    with ExitStack() as stack:
        listener = Listener(_Trace(place, _reader(place, stack)))
        hello = listener.overhear()
        chosen = choose(hello, {name: a.sidecar.model.sha256 for name, a in models.items()}, place)
        if not hello.output_only:
            raise InputError(
                f"The bench on {place} waits for features and cannot get them through SWO.",
                hint="Build it with BENCH_OUTPUT_ONLY.",
            )
        vectors = golden_vectors(models[chosen], hello.frames)
        check_shapes(hello, vectors, place)
        check_features(hello, vectors, place)
        run = listener.listen(hello, hello.frames)
    found = reading_of(models[chosen], vectors, run, "swo", place)
    return findings_of(artefacts, models[chosen], found)


class _Trace:
    """What was written to the stimulus port, out of the trace."""

    def __init__(self, name: str, read: Read) -> None:
        self.name = name
        self._read = read
        self._decoder = ItmDecoder()

    def read(self, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            received = self._read(left)
            if written := self._decoder.feed(received).get(STIMULUS_PORT, b""):
                return written
        return b""


def _reader(place: str, stack: ExitStack) -> Read:
    """A function that reads raw bytes of a trace, closed with ``stack``."""
    if not place:
        raise InputError("No trace is named.", hint="Write --on swo:FILE, HOST:PORT or PORT@BAUD.")
    if _SERIAL.fullmatch(place):
        port, _, baud = place.rpartition("@")
        return stack.enter_context(closing(SerialWire(port, int(baud)))).read
    if found := _TCP.fullmatch(place):
        return _descriptor(_connected(place, found["host"], int(found["port"]), stack))
    try:
        # Without O_NONBLOCK a fifo would not open before somebody writes to it.
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise GateUnavailable(
            f"There is no trace at {place}.", hint="Let the debugger write one there first."
        ) from error
    except OSError as error:
        raise GateUnavailable(f"{place} cannot be read: {error.strerror}.") from error
    stack.callback(os.close, descriptor)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise InputError(f"{place} is a folder.", hint="Name the file with the trace.")
    return _descriptor(descriptor)


def _connected(place: str, host: str, port: int, stack: ExitStack) -> int:
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GateUnavailable(
            f"Nothing hands out a trace at {place}: {reason.lower()}.",
            hint="Start the debugger's server with its SWO output on that port.",
        ) from error
    stack.enter_context(connection)
    return connection.fileno()


def _descriptor(descriptor: int) -> Read:
    def read(seconds: float) -> bytes:
        if not select.select([descriptor], [], [], seconds)[0]:
            return b""
        try:
            received = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise Ended from error
        if not received:
            raise Ended
        return received

    return read
