"""Messages of the bench: framed, found again after noise, and trace packets likewise."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.devices.bench_protocol import (
    Damaged,
    FrameAnswer,
    Hello,
    OtherVersion,
    Problem,
    Unpacker,
    answer_bytes,
    answer_of,
    ask_frame,
    ask_hello,
    cobs,
    frame,
    hello_bytes,
    problem_bytes,
    uncobs,
    unframe,
)
from runtime.devices.itm import PORTS, ItmDecoder

numbers = st.integers(0, 2**32 - 1)
zeros_and_others = st.binary(max_size=600) | st.lists(
    st.sampled_from([0, 1, 254, 255]), max_size=1200
).map(bytes)
hellos = st.builds(
    Hello,
    session=numbers,
    architecture=st.integers(0, 2),
    counter=st.integers(0, 255),
    counter_bits=st.sampled_from([24, 32]),
    core_id=numbers,
    clock_hz=numbers,
    spin=numbers,
    overhead=numbers,
    hook_overhead=numbers,
    feature_bytes=st.integers(0, 65535),
    mask_bytes=st.integers(0, 65535),
    operators=st.integers(0, 65535),
    frames=numbers,
    features_crc=numbers,
    model=st.binary(min_size=16, max_size=16),
    output_only=st.booleans(),
    simulated=st.booleans(),
    compiler=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=50),
)


@given(zeros_and_others)
def test_cobs_has_no_zeros_and_loses_nothing(content: bytes) -> None:
    coded = cobs(content)
    assert 0 not in coded
    assert uncobs(coded) == content
    assert len(coded) <= len(content) + len(content) // 254 + 2


@pytest.mark.parametrize("size", [253, 254, 255, 508, 509])
def test_blocks_of_254(size: int) -> None:
    for content in (b"x" * size, b"x" * size + b"\0", b"\0" + b"x" * size):
        assert uncobs(cobs(content)) == content


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_damaged(received: bytes) -> None:
    for message in Unpacker().feed(received + b"\0"):
        try:
            answer_of(message)
        except Damaged:
            continue
    try:
        answer_of(received)
    except Damaged:
        return


@given(hellos)
def test_hello_comes_through(hello: Hello) -> None:
    assert answer_of(unframe(frame(hello_bytes(hello))[1:-1])) == hello
    assert hello.core == hello.core.strip()


@given(numbers, numbers, st.lists(numbers, max_size=5).map(tuple), st.binary(max_size=40))
def test_answers_come_through(
    session: int, index: int, operators: tuple[int, ...], mask: bytes
) -> None:
    for ticks, stack in ((7, 300), (None, None)):
        answer = FrameAnswer(session, index, ticks, stack, operators, mask)
        assert answer_of(answer_bytes(answer), len(operators)) == answer
    problem = Problem(session, index)
    assert answer_of(problem_bytes(problem)) == problem


@settings(max_examples=50)
@given(st.data(), st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6))
def test_messages_are_found_between_noise(data: st.DataObject, messages: list[bytes]) -> None:
    """Noise in front of, behind and between whole messages, in pieces of any size."""
    noise = st.binary(max_size=30).filter(lambda part: not _is_message(part))
    stream = b"".join(data.draw(noise) + b"\0" + frame(m) for m in messages) + b"\0"
    unpacker = Unpacker()
    found: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += unpacker.feed(stream[:size])
        stream = stream[size:]
    assert [m for m in found if m in messages] == messages


def _is_message(part: bytes) -> bool:
    return bool(list(Unpacker().feed(b"\0" + part + b"\0")))


@given(st.integers(1, 70), st.integers(1, 255))
def test_one_changed_byte_is_noticed(place: int, change: int) -> None:
    sent = bytearray(ask_frame(1, 2, bytes(range(60))))
    sent[place % (len(sent) - 2) + 1] ^= change
    assert list(Unpacker().feed(bytes(sent))) == []


def test_endless_noise_without_zeros_is_not_kept() -> None:
    unpacker = Unpacker()
    for _ in range(40):
        assert list(unpacker.feed(b"x" * 100_000)) == []
    assert len(unpacker._pending) <= 1 << 20
    assert list(unpacker.feed(ask_hello(3))) == [unframe(ask_hello(3)[1:-1])]


def test_another_version_is_told_apart() -> None:
    with pytest.raises(OtherVersion, match="version 2"):
        answer_of(struct.pack("<cB2xIII", b"h", 2, 0, 0, 0) + bytes(56))


@pytest.mark.parametrize(
    ("architecture", "core_id", "name"),
    [
        (1, 0x410CC200, "cortex-m0"),
        (1, 0x410CC601, "cortex-m0plus"),
        (1, 0x410FC241, "cortex-m4"),
        (1, 0x411FC272, "cortex-m7"),
        (1, 0x410FD213, "cortex-m33"),
        (1, 0x411FD221, "cortex-m55"),
        (1, 0x410FFFF1, ""),
        (1, 0x630FC241, ""),
        (2, 0x40001105, "rv32imac"),
        (0, 0, ""),
    ],
)
def test_cores_by_their_numbers(architecture: int, core_id: int, name: str) -> None:
    hello = Hello(
        *(0, architecture, 1, 32, core_id, 0, 1, 0, 0, 0, 0, 0, 0, 0),
        *(bytes(16), False, False, ""),
    )
    assert hello.core == name


# Trace packets.

ports = st.integers(0, PORTS - 1)
writes = st.lists(st.tuples(ports, st.sampled_from([1, 2, 4]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)), max_size=30)  # fmt: skip
SYNC = bytes(5) + b"\x80"
others = st.sampled_from(
    [
        SYNC,
        bytes(9) + b"\x80",
        b"\x70",  # overflow
        b"\xc0\x85\x03",  # local timestamp, two bytes
        b"\xf0\x80\x80\x80\x01",  # the longest
        b"\x30",  # the short one
        b"\x94\xff\x0f",  # global timestamps
        b"\xb4\x80\x80\x80\x80\x80\x01",
        b"\x08",  # extension
        b"\x88\x01",
        b"\x17\x44\x33\x22\x11",  # a sample of the program counter
        b"\x05\x20",  # event counters
        b"\x0e\x10\x20",  # an exception
    ]
)


def packet(port: int, payload: bytes) -> bytes:
    """A write to a stimulus port as the macrocell sends it."""
    return bytes([port << 3 | {1: 1, 2: 2, 4: 3}[len(payload)]]) + payload


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_a_trace_of_any_bytes_is_taken(pieces: list[bytes]) -> None:
    decoder = ItmDecoder()
    written = [decoder.feed(piece) for piece in pieces]
    assert sum(len(b) for part in written for b in part.values()) <= sum(map(len, pieces))
    assert all(0 <= port < PORTS for part in written for port in part)


@settings(max_examples=50)
@given(writes, st.data())
def test_writes_come_through_whatever_stands_between(
    sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(data.draw(st.just(b"") | others) + packet(*write) for write in sent)
    decoder, found = ItmDecoder(), dict[int, bytes]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        for port, content in decoder.feed(stream[:size]).items():
            found[port] = found.get(port, b"") + content
        stream = stream[size:]
    expected = dict[int, bytes]()
    for port, payload in sent:
        expected[port] = expected.get(port, b"") + payload
    assert found == expected


@settings(max_examples=50)
@given(writes, writes, st.data())
def test_after_a_synchronisation_packet_lost_bytes_are_forgotten(
    damaged: list[tuple[int, bytes]], sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = bytearray(b"".join(packet(*write) for write in damaged))
    for _ in range(data.draw(st.integers(0, 5))):
        if stream:
            del stream[data.draw(st.integers(0, len(stream) - 1))]
    # What stands before may have ended in zeros, which belong to the packet then.
    decoder = ItmDecoder()
    decoder.feed(bytes(stream) + SYNC)
    found = decoder.feed(b"".join(packet(*write) for write in sent))
    assert found == {
        port: b"".join(payload for there, payload in sent if there == port)
        for port in {port for port, _ in sent}
    }


def test_overflows_are_counted() -> None:
    decoder = ItmDecoder()
    assert decoder.feed(b"\x01a\x70\x01b") == {0: b"ab"}
    assert decoder.overflows == 1


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=80), min_size=4, max_size=8), st.data())
def test_frames_of_the_bench_survive_a_trace_that_loses_bytes(
    messages: list[bytes], data: st.DataObject
) -> None:
    """Each message is followed by a synchronisation packet; those without losses arrive."""
    hurt = data.draw(st.sets(st.integers(0, len(messages) - 1), max_size=2))
    decoder, unpacker = ItmDecoder(), Unpacker()
    found: list[bytes] = []
    for number, message in enumerate(messages):
        stream = bytearray(b"".join(packet(0, bytes([byte])) for byte in frame(message)))
        if number in hurt:
            del stream[data.draw(st.integers(0, len(stream) - 1))]
        found += unpacker.feed(decoder.feed(bytes(stream) + SYNC).get(0, b""))
    # The message after a hurt one lacks nothing: it begins with a zero of its own.
    assert {m for number, m in enumerate(messages) if number not in hurt} <= set(found)
