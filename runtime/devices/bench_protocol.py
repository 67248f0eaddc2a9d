"""What the bench firmware of a microcontroller and the host say to each other, as bytes.

A message is ``00 COBS(message ‖ CRC-32) 00``. COBS (Cheshire and Baker, "Consistent Overhead Byte
Stuffing", IEEE/ACM Transactions on Networking 7/2, 1999) has no zeros, so that after noise, boot
messages or lost bytes the next message is found at the next zero. ``bench/bench.c`` is the other
side. Numbers are little endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

VERSION = 1
ASK_HELLO, ASK_FRAME = b"H", b"F"
_HEADER = struct.Struct("<cB2xIII")  # type, version, session, index, zero
_HELLO = struct.Struct("<BBBBIIIII4HII16s")
_HASH_BYTES = 16
_LARGEST_MESSAGE = 1 << 20  # of what comes without a zero; noise must not fill the memory

COUNTERS = {1: "DWT cycle counter", 2: "SysTick", 3: "mcycle", 4: "the firmware's own counter"}
PROBLEMS = {
    1: "a message arrived damaged",
    2: "the features are not as many as those of its model",
    3: "it was reset: the session is not the one that was begun",
    4: "a frame was skipped",
    5: "the step uses more stack than BENCH_STACK_BYTES",
    6: "it does not know this message",
}
_DAMAGED, _STACK = 1, 5
_NOTHING = 0xFFFFFFFF  # ticks or stack that could not be had

# Implementer and part number of CPUID, from Arm's technical reference manuals of the cores.
_CORTEX_M = {
    0xC20: "cortex-m0",
    0xC60: "cortex-m0plus",
    0xC21: "cortex-m1",
    0xC23: "cortex-m3",
    0xC24: "cortex-m4",
    0xC27: "cortex-m7",
    0xD20: "cortex-m23",
    0xD21: "cortex-m33",
    0xD31: "cortex-m35p",
    0xD22: "cortex-m55",
    0xD23: "cortex-m85",
    0xD24: "cortex-m52",
}
_ARM = 0x41


class Damaged(ValueError):
    """Bytes that are no message of the bench."""


class OtherVersion(Damaged):
    """A message of another version of this protocol."""


@dataclass(frozen=True)
class Hello:
    """What a board says of itself, its build and its model. Ticks are those of its counter."""

    session: int
    architecture: int
    counter: int
    counter_bits: int
    core_id: int
    clock_hz: int  # 0: not stated
    spin: int  # ticks of a loop, 0 where the counter stands still
    overhead: int  # ticks of a step that does nothing
    hook_overhead: int  # ticks of an operator that does nothing
    feature_bytes: int
    mask_bytes: int
    operators: int  # in a build that counts them, else 0
    frames: int  # that the firmware holds; 0 where it receives them
    features_crc: int
    model: bytes  # the first 16 bytes of the SHA-256 of NAME.c
    output_only: bool
    simulated: bool
    compiler: str

    @property
    def core(self) -> str:
        """``cortex-m4``, ``rv32imac``, or empty where the number is not known."""
        if self.architecture == 1 and self.core_id >> 24 == _ARM:
            return _CORTEX_M.get(self.core_id >> 4 & 0xFFF, "")
        if self.architecture == 2:
            # misa has a bit for every letter; of several widths a bench only compiles for 32 bits.
            letters = "".join(c for c in "imafdc" if self.core_id >> ord(c) - ord("a") & 1)
            return f"rv32{letters}" if letters else ""
        return ""

    @property
    def masks_interrupts(self) -> bool:
        """Whether the bench knows how on this core."""
        return self.architecture in (1, 2)

    @property
    def counter_name(self) -> str:
        return COUNTERS.get(self.counter, f"counter {self.counter}")

    @property
    def counts(self) -> bool:
        """Whether the counter moved at all while a loop ran."""
        return 0 < self.spin < _NOTHING


@dataclass(frozen=True)
class FrameAnswer:
    """One step: ticks as the counter had them, None where it wrapped; stack None where unknown."""

    session: int
    index: int
    ticks: int | None
    stack: int | None
    operators: tuple[int, ...]
    mask: bytes


@dataclass(frozen=True)
class Problem:
    """What the board could not do."""

    session: int
    number: int

    @property
    def text(self) -> str:
        return PROBLEMS.get(self.number, f"problem {self.number}")

    @property
    def passing(self) -> bool:
        """Whether sending again may help."""
        return self.number == _DAMAGED

    @property
    def of_stack(self) -> bool:
        return self.number == _STACK


Answer = Hello | FrameAnswer | Problem


def ask_hello(session: int) -> bytes:
    """Bytes that ask who is there. The board resets its model and begins the session."""
    return frame(_HEADER.pack(ASK_HELLO, VERSION, session, 0, 0))


def ask_frame(session: int, index: int, features: bytes) -> bytes:
    """Bytes that ask for a step."""
    return frame(_HEADER.pack(ASK_FRAME, VERSION, session, index, 0) + features)


def answer_of(message: bytes, operators: int = 0) -> Answer:
    """What a message of the board says; ``operators`` as its hello had them.

    Raises Damaged for anything that is none, OtherVersion for one of another version.
    """
    if len(message) < _HEADER.size:
        raise Damaged("too short for a message")
    kind, version, session, index, _ = _HEADER.unpack_from(message)
    if version != VERSION:
        raise OtherVersion(f"version {version} of the protocol, not {VERSION}")
    body = message[_HEADER.size :]
    if kind == b"h":
        return _hello(session, body)
    if kind == b"f":
        return _frame_answer(session, index, body, operators)
    if kind == b"e":
        return Problem(session, index)
    raise Damaged(f"a message of type {kind!r}")


def hello_bytes(hello: Hello) -> bytes:
    """The message that says ``hello``, without frame: what a board sends."""
    flags = (1 if hello.output_only else 0) | (2 if hello.simulated else 0)
    return (
        _HEADER.pack(b"h", VERSION, hello.session, 0, 0)
        + _HELLO.pack(
            hello.architecture,
            hello.counter,
            hello.counter_bits,
            flags,
            hello.core_id,
            hello.clock_hz,
            hello.spin,
            hello.overhead,
            hello.hook_overhead,
            hello.feature_bytes,
            hello.mask_bytes,
            hello.operators,
            0,
            hello.frames,
            hello.features_crc,
            hello.model,
        )
        + hello.compiler.encode("ascii", "replace")
    )


def answer_bytes(answer: FrameAnswer) -> bytes:
    """The message that answers a frame, without frame: what a board sends."""
    ticks, stack = (_NOTHING if part is None else part for part in (answer.ticks, answer.stack))
    return (
        _HEADER.pack(b"f", VERSION, answer.session, answer.index, 0)
        + struct.pack(f"<{2 + len(answer.operators)}I", ticks, stack, *answer.operators)
        + answer.mask
    )


def problem_bytes(problem: Problem) -> bytes:
    """The message that tells a problem, without frame: what a board sends."""
    return _HEADER.pack(b"e", VERSION, problem.session, problem.number, 0)


def _hello(session: int, body: bytes) -> Hello:
    if len(body) < _HELLO.size:
        raise Damaged("too short for a hello")
    parts = _HELLO.unpack_from(body)
    architecture, counter, bits, flags, core, clock, spin, overhead, hook = parts[:9]
    feature_bytes, mask_bytes, operators, _, frames, crc, model = parts[9:]
    return Hello(
        session=session,
        architecture=architecture,
        counter=counter,
        counter_bits=bits,
        core_id=core,
        clock_hz=clock,
        spin=spin,
        overhead=overhead,
        hook_overhead=hook,
        feature_bytes=feature_bytes,
        mask_bytes=mask_bytes,
        operators=operators,
        frames=frames,
        features_crc=crc,
        model=model,
        output_only=bool(flags & 1),
        simulated=bool(flags & 2),
        compiler="".join(
            c for c in body[_HELLO.size :].decode("ascii", "replace") if c.isprintable()
        ),
    )


def _frame_answer(session: int, index: int, body: bytes, operators: int) -> FrameAnswer:
    words = 2 + operators
    if len(body) < 4 * words:
        raise Damaged("too short for an answer")
    ticks, stack, *counts = struct.unpack_from(f"<{words}I", body)
    return FrameAnswer(
        session=session,
        index=index,
        ticks=None if ticks == _NOTHING else ticks,
        stack=None if stack == _NOTHING else stack,
        operators=tuple(counts),
        mask=body[4 * words :],
    )


def model_prefix(sha256: str) -> bytes:
    """What a bench says of its model, of the SHA-256 of NAME.c in hexadecimal."""
    return bytes.fromhex(sha256)[:_HASH_BYTES]


def frame(message: bytes) -> bytes:
    """A message as it travels."""
    return b"\0" + cobs(message + zlib.crc32(message).to_bytes(4, "little")) + b"\0"


def unframe(chunk: bytes) -> bytes:
    """The message of what stood between two zeros. Raises Damaged."""
    content = uncobs(chunk)
    message, crc = content[:-4], content[-4:]
    if len(content) < 4 or zlib.crc32(message).to_bytes(4, "little") != crc:
        raise Damaged("the checksum is wrong")
    return message


def cobs(content: bytes) -> bytes:
    """``content`` without zeros: blocks of a length + 1 and up to 254 bytes; a shorter block stands
    for a zero behind it."""
    coded = bytearray()
    for part in content.split(b"\0"):
        whole = len(part) - len(part) % 254 if part else 0
        for start in range(0, whole, 254):
            coded += b"\xff" + part[start : start + 254]
        coded += bytes([len(part) - whole + 1]) + part[whole:]
    return bytes(coded)


def uncobs(coded: bytes) -> bytes:
    """What :func:`cobs` was given. Raises Damaged."""
    content = bytearray()
    place = 0
    while place < len(coded):
        code = coded[place]
        block = coded[place + 1 : place + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            raise Damaged("not COBS")
        content += block
        place += code
        if code < 255 and place < len(coded):
            content.append(0)
    return bytes(content)


class Unpacker:
    """Finds messages in a stream of bytes of which some are noise or lost."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.bytes = 0  # that came
        self.damaged = 0  # stretches between zeros that were no message

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The messages that ``received`` completes."""
        self.bytes += len(received)
        self._pending += received
        *chunks, rest = bytes(self._pending).split(b"\0")
        self._pending = bytearray(rest[-_LARGEST_MESSAGE:])
        for chunk in chunks:
            if chunk:
                try:
                    yield unframe(chunk)
                except Damaged:
                    self.damaged += 1
