"""A conversation with a bench firmware: hello, then a frame at a time; or listening to one that
only sends. Damaged messages are asked for again; what is heard besides them is ignored."""

from __future__ import annotations

import secrets
import time
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from runtime.devices.bench_protocol import (
    Answer,
    Damaged,
    FrameAnswer,
    Hello,
    OtherVersion,
    Problem,
    Unpacker,
    answer_of,
    ask_frame,
    ask_hello,
    model_prefix,
)
from runtime.devices.simulation import GoldenVectors
from targets.errors import GateFailed, GateUnavailable, InputError

ATTEMPTS = 4  # of a frame
NO_BENCH_HINT = "Flash the firmware that `sordino bench` writes, and name port and baud rate of it."


class Source(Protocol):
    """Bytes from a board. ``name`` is where they come from."""

    name: str

    def read(self, seconds: float) -> bytes:
        """What came, as soon as anything does; empty after ``seconds`` without. Raises Ended, and
        GateUnavailable when the board is gone."""
        ...


class Wire(Source, Protocol):
    """Bytes from a board and to it."""

    def write(self, content: bytes) -> None:
        """Raises GateUnavailable when the board is gone."""
        ...


class Ended(Exception):
    """There is nothing more to read: the end of a file."""


@dataclass(frozen=True)
class Patience:
    """Seconds to wait: between two hellos, for the first of them, for the answer to a frame, and
    for a silent board that only sends."""

    between: float = 0.5
    hello: float = 10.0
    frame: float = 10.0
    silence: float = 20.0


@dataclass(frozen=True)
class Run:
    """All frames of a golden sequence, in order."""

    hello: Hello
    answers: tuple[FrameAnswer, ...]


class Listener:
    """What a board says, message by message."""

    def __init__(self, source: Source, patience: Patience | None = None) -> None:
        self._source = source
        self._patience = patience or Patience()
        self._unpacker = Unpacker()
        self._messages: deque[bytes] = deque()

    def overhear(self) -> Hello:
        """Wait for the hello of a board that only sends. Raises GateUnavailable without one."""
        with suppress(Ended):
            for answer in self._answers(self._patience.silence, 0):
                if isinstance(answer, Hello):
                    return answer
        raise self._no_answer()

    def listen(self, hello: Hello, frames: int) -> Run:
        """Collect all frames of a board that only sends; it repeats them, so that what was lost
        comes again. Raises GateUnavailable when a file ends before, or nothing new comes."""
        found: dict[int, FrameAnswer] = {}
        with suppress(Ended):
            while len(found) < frames:
                before = len(found)
                for answer in self._answers(self._patience.silence, hello.operators):
                    if isinstance(answer, Problem):
                        raise _told(answer, len(found))
                    if isinstance(answer, FrameAnswer) and answer.index < frames:
                        found.setdefault(answer.index, answer)
                    if len(found) == frames:
                        break
                if len(found) == before:
                    break
        if len(found) == frames:
            return Run(hello, tuple(found[index] for index in range(frames)))
        raise GateUnavailable(
            f"Of {frames} frames {len(found)} arrived from {self._source.name}.",
            hint="Let it run for longer; a slower trace loses less.",
        )

    def _answers(self, seconds: float, operators: int) -> Iterator[Answer]:
        """What the board says within ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            while self._messages:
                try:
                    yield answer_of(self._messages.popleft(), operators)
                except OtherVersion as problem:
                    raise GateUnavailable(
                        f"The bench on {self._source.name} speaks {problem}.",
                        hint="Write it again with `sordino bench` and flash it.",
                    ) from problem
                except Damaged:
                    continue
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._messages.extend(self._unpacker.feed(self._source.read(left)))

    def _no_answer(self) -> GateUnavailable:
        heard = self._unpacker.bytes
        if not heard:
            return GateUnavailable(
                f"Nothing answers on {self._source.name}.",
                hint=f"{NO_BENCH_HINT} Check power, and that RX and TX are crossed.",
            )
        return GateUnavailable(
            f"{self._source.name} sent {heard} bytes, none of them from a bench.",
            hint=f"{NO_BENCH_HINT} A wrong baud rate gives bytes like these.",
        )


class Session(Listener):
    """A conversation with a board that listens."""

    def __init__(self, wire: Wire, patience: Patience | None = None) -> None:
        super().__init__(wire, patience)
        self._wire = wire

    def hello(self) -> Hello:
        """Ask until the board answers; one that only sends is heard as well.

        Raises GateUnavailable where nothing answers, with the likely reason.
        """
        session = secrets.randbits(32)
        deadline = time.monotonic() + self._patience.hello
        while time.monotonic() < deadline:
            self._wire.write(ask_hello(session))
            for answer in self._answers(self._patience.between, 0):
                if isinstance(answer, Hello) and (answer.session == session or answer.output_only):
                    return answer
        raise self._no_answer()

    def ask(self, hello: Hello, vectors: GoldenVectors) -> Run:
        """Run all frames, each once. ``hello`` is the one that began the session.

        Raises GateUnavailable when the board stops answering, GateFailed when it cannot run a step.
        """
        features = enumerate(little_endian(vectors))
        return Run(hello, tuple(self._ask_frame(hello, index, frame) for index, frame in features))

    def _ask_frame(self, hello: Hello, index: int, features: bytes) -> FrameAnswer:
        expected = (hello.session, index)
        for _ in range(ATTEMPTS):
            self._wire.write(ask_frame(hello.session, index, features))
            for answer in self._answers(self._patience.frame, hello.operators):
                if isinstance(answer, FrameAnswer) and (answer.session, answer.index) == expected:
                    return answer
                if isinstance(answer, Problem) and answer.session == hello.session:
                    if answer.passing:
                        break
                    raise _told(answer, index)
        raise GateUnavailable(
            f"The board on {self._wire.name} did not answer frame {index}.",
            hint="Check cable and power; a lower baud rate loses less.",
        )


def _told(problem: Problem, index: int) -> GateUnavailable | GateFailed:
    if problem.of_stack:
        return GateFailed(
            f"Frame {index}: {problem.text}.", hint="Build with a larger BENCH_STACK_BYTES."
        )
    return GateUnavailable(
        f"The board answered frame {index} that {problem.text}.",
        hint="It may have been reset by a watchdog or a fault: run it again.",
    )


def choose(hello: Hello, models: dict[str, str], place: str) -> str:
    """The name of the model that a board runs; ``models`` has the SHA-256 of each.

    Raises InputError where it is none of them.
    """
    for name, sha256 in models.items():
        if model_prefix(sha256) == hello.model:
            return name
    wanted = ", ".join(f"{name} ({sha256[:12]}…)" for name, sha256 in models.items())
    raise InputError(
        f"The board on {place} runs another model ({hello.model.hex()[:12]}…), not {wanted}.",
        hint="Flash the bench of this artefact, or name the artefact that is on the board.",
    )


def check_shapes(hello: Hello, vectors: GoldenVectors, place: str) -> None:
    """Raise InputError where a board has other features or masks than the golden ones."""
    frame, mask = vectors.features[0].nbytes, vectors.masks[0].nbytes
    if (hello.feature_bytes, hello.mask_bytes) != (frame, mask):
        raise InputError(
            f"The bench on {place} takes {hello.feature_bytes} bytes and gives {hello.mask_bytes}, "
            f"its model {frame} and {mask}.",
            hint="Write and flash the bench again.",
        )


def check_features(hello: Hello, vectors: GoldenVectors, place: str) -> None:
    """Raise InputError where a board that only sends holds other features."""
    if hello.features_crc != zlib.crc32(b"".join(little_endian(vectors))):
        raise InputError(
            f"The bench on {place} holds other features than the golden ones.",
            hint="Write and flash the bench again with this version of sordino.",
        )


def little_endian(vectors: GoldenVectors) -> list[bytes]:
    """The features of every frame as they travel."""
    stored = np.ascontiguousarray(vectors.features, vectors.features.dtype.newbyteorder("<"))
    return [frame.tobytes() for frame in stored]
