"""The backend `swo`: what a bench sends without being asked, packed as a trace."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from contextlib import closing
from pathlib import Path

import pytest

from runtime.artefact import Artefact
from runtime.devices import serial, swo
from runtime.devices.bench_protocol import (
    Unpacker,
)
from runtime.devices.bench_source import write_bench
from runtime.engines.native import find_compiler
from runtime.profiling.backends import Request
from runtime.profiling.records import Reading
from targets.errors import GateUnavailable, InputError
from tests.runtime.devices.bench_models import BODY, write_model
from tests.runtime.devices.qemu_board import built, needs_qemu, running

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
FRAMES = 12


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_model(tmp_path_factory.mktemp("sums"))


@pytest.fixture(scope="module")
def folder(artefact: Artefact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench; tests may build in it."""
    return write_bench(artefact, tmp_path_factory.mktemp("bench") / "here", frames=FRAMES).folder


def packets(content: bytes) -> bytes:
    """Bytes as writes to port 0, a byte each, with timestamps and synchronisation in between."""
    stream = bytearray()
    for number, byte in enumerate(content):
        stream += bytes([0x01, byte])
        if number % 97 == 0:
            stream += bytes(5) + b"\x80" + b"\xc0\x81\x01"
    return bytes(stream)


@pytest.fixture(scope="module")
def sent(folder: Path, artefact: Artefact) -> bytes:
    """Two rounds of what the firmware sends with BENCH_OUTPUT_ONLY, from QEMU's UART."""
    if not shutil.which("qemu-system-arm") or not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("QEMU or the compiler is not installed")
    built(folder, "OUTPUT_ONLY=1")
    unpacker, whole = Unpacker(), b""
    with (
        running(folder, "OUTPUT_ONLY=1") as board,
        closing(serial.SerialWire(board.port, 115_200)) as wire,
    ):
        hellos = 0
        while hellos < 3:
            received = wire.read(10.0)
            assert received
            whole += received
            hellos += sum(message[:1] == b"h" for message in unpacker.feed(received))
    return whole


@needs_qemu
def test_a_board_that_only_sends_is_heard_on_its_port(
    sent: bytes, folder: Path, artefact: Artefact
) -> None:
    with running(folder, "OUTPUT_ONLY=1") as board:
        ((reading,),) = serial.measure([artefact], Request(address=board.port)).readings
    assert reading.matches is True
    assert f"{FRAMES} frames" in reading.figures[0].conditions


def traced(artefact: Artefact, address: str) -> Reading:
    ((reading,),) = swo.measure([artefact], Request(address=address)).readings
    return reading


def test_a_trace_in_a_file(sent: bytes, artefact: Artefact, tmp_path: Path) -> None:
    (tmp_path / "trace.bin").write_bytes(packets(sent))
    reading = traced(artefact, str(tmp_path / "trace.bin"))
    assert reading.matches is True
    assert reading.backend == "swo"
    assert reading.figures[0].name == f"step, median [swo {tmp_path / 'trace.bin'}]"


def test_a_trace_with_losses_is_completed_by_the_next_round(
    sent: bytes, artefact: Artefact, tmp_path: Path
) -> None:
    trace = bytearray(packets(sent))
    for place in (1500, 1700, 2500):
        del trace[place : place + 3]
    (tmp_path / "trace.bin").write_bytes(b"\x70garbage" + bytes(trace))
    assert traced(artefact, str(tmp_path / "trace.bin")).matches is True


def test_a_trace_that_ends_too_early(sent: bytes, artefact: Artefact, tmp_path: Path) -> None:
    path = tmp_path / "trace.bin"
    path.write_bytes(packets(sent[:700]))
    with pytest.raises(GateUnavailable, match=rf"Of {FRAMES} frames \d+ arrived"):
        traced(artefact, str(path))
    path.write_bytes(b"nothing of ours" * 9)
    with pytest.raises(GateUnavailable, match=r"Nothing answers|none of them from a bench"):
        traced(artefact, str(path))


def test_a_trace_from_a_server_and_from_a_fifo(
    sent: bytes, artefact: Artefact, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=_hand_out, args=(server, packets(sent)))
        thread.start()
        reading = traced(artefact, f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert reading.matches is True
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(packets(sent),))
    writer.start()
    assert traced(artefact, str(tmp_path / "fifo")).matches is True
    writer.join()


def _hand_out(server: socket.socket, content: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        for start in range(0, len(content), 1000):
            connection.sendall(content[start : start + 1000])


def test_a_trace_of_another_model_or_other_features(
    sent: bytes, artefact: Artefact, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.bin"
    trace.write_bytes(packets(sent))
    other = write_model(tmp_path / "other", BODY.replace("0x55", "0x2a"))
    with pytest.raises(InputError, match="runs another model"):
        traced(other, str(trace))
    shifted = artefact.sidecar.contract.model_copy(update={"scale": 0.5})
    changed = artefact.model_copy(
        update={"sidecar": artefact.sidecar.model_copy(update={"contract": shifted})}
    )
    with pytest.raises(InputError, match="other features than the golden ones"):
        traced(changed, str(trace))


@pytest.mark.parametrize("address", ["/nowhere/trace.bin", "127.0.0.1:1", "127.0.0.1:70000"])
def test_no_trace(artefact: Artefact, address: str) -> None:
    with pytest.raises(GateUnavailable) as refusal:
        traced(artefact, address)
    assert refusal.value.hint


def test_no_address_and_a_folder(artefact: Artefact, tmp_path: Path) -> None:
    for address in ("", str(tmp_path)):
        with pytest.raises(InputError):
            traced(artefact, address)
