"""A board at the other end of a pseudo-terminal, played by a thread."""

from __future__ import annotations

import os
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from runtime.artefact import Artefact
from runtime.devices.bench_protocol import (
    FrameAnswer,
    Hello,
    Problem,
    Unpacker,
    answer_bytes,
    frame,
    hello_bytes,
    model_prefix,
    problem_bytes,
)
from runtime.devices.simulation import GoldenVectors

CORTEX_M4 = 0x410FC241
HEADER_BYTES = 16


def hello_of(artefact: Artefact, vectors: GoldenVectors) -> Hello:
    """What a board with this artefact and a DWT at 100 MHz says."""
    return Hello(
        session=0,
        architecture=1,
        counter=1,
        counter_bits=32,
        core_id=CORTEX_M4,
        clock_hz=100_000_000,
        spin=5_000,
        overhead=20,
        hook_overhead=4,
        feature_bytes=vectors.features[0].nbytes,
        mask_bytes=vectors.masks[0].nbytes,
        operators=0,
        frames=0,
        features_crc=0,
        model=model_prefix(artefact.sidecar.model.sha256),
        output_only=False,
        simulated=False,
        compiler="gcc 12.2.1 -O3 -mcpu=cortex-m4",
    )


@dataclass
class FakeBoard:
    """Answers as a bench does, and does wrong what it is told to."""

    hello: Hello
    vectors: GoldenVectors
    ticks: int | None = 10_020
    operators: tuple[int, ...] = ()
    noise: bytes = b""  # before the first hello
    silent: bool = False
    deaf_to: int = 0  # messages that are not heard, at the beginning
    tampered: int = -1  # the frame whose mask is wrong
    damaged: frozenset[int] = frozenset()  # frames of which the first answer arrives damaged
    unplugged_at: int = -1
    problem_at: dict[int, int] = field(default_factory=dict)
    steps: int = 0  # computed, not answered
    _last: int = -1

    def answers(self, message: bytes) -> bytes | None:
        """What a message is answered with; None pulls the cable."""
        session, index = (int.from_bytes(message[at : at + 4], "little") for at in (4, 8))
        if self.deaf_to > 0:
            self.deaf_to -= 1
            return b""
        if message[:1] == b"H":
            noise, self.noise = self.noise, b""
            self._last = -1
            return noise + frame(hello_bytes(replace(self.hello, session=session)))
        if index == self.unplugged_at:
            return None
        if index in self.problem_at:
            return frame(problem_bytes(Problem(session, self.problem_at[index])))
        assert message[HEADER_BYTES:] == self.vectors.features[index].tobytes()
        self.steps += index != self._last
        self._last = index
        ticks = None if self.ticks is None else self.ticks + index
        mask = bytearray(self.vectors.masks[index].tobytes())
        if index == self.tampered:
            mask[3] ^= 1
        answer = FrameAnswer(session, index, ticks, 300 + index, self.operators, bytes(mask))
        sent = frame(answer_bytes(answer))
        if index in self.damaged:
            self.damaged -= {index}
            problem = frame(problem_bytes(Problem(session, 1)))
            return sent[:20] + b"\xaa" + sent[21:] + problem
        return sent


@contextmanager
def plugged_in(board: FakeBoard) -> Iterator[str]:
    """The path of the port on which ``board`` answers."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    stop_reading, stop_writing = os.pipe()
    thread = threading.Thread(target=_serve, args=(board, ours, stop_reading))
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        os.close(stop_writing)
        thread.join()
        for descriptor in (theirs, stop_reading):
            os.close(descriptor)


def _serve(board: FakeBoard, ours: int, stop: int) -> None:
    unpacker = Unpacker()
    with suppress(OSError):
        while stop not in (ready := select.select([ours, stop], [], [])[0]):
            assert ready
            received = os.read(ours, 4096)
            if board.silent:
                continue
            for message in unpacker.feed(received):
                answer = board.answers(message)
                if answer is None:
                    os.close(ours)
                    return
                os.write(ours, answer)
    with suppress(OSError):
        os.close(ours)
