"""Damage that knows nothing of formats, and damage to the offsets of a flatbuffer."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from runtime.modelfile import flatbuffer
from runtime.modelfile.flatbuffer import Span
from runtime.modelfile.tflite_schema import SCHEMA, UNIONS
from tests.hostile.bases import Base
from tests.hostile.specimen import Specimen, specimen

LARGE = (0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0x4000_0001, 1 << 24)


class Survey(flatbuffer._Reader):
    """Notes where offsets, vectors and vtables of a sound file lie."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content, SCHEMA, UNIONS)
        self.offsets: list[int] = []
        self.vectors: list[int] = []
        self.tables: list[int] = []
        self.table(self.offset(0), "Model")

    def offset(self, position: int) -> int:
        self.offsets.append(position)
        return super().offset(position)

    def table(self, position: int, kind: str) -> flatbuffer.Record:
        self.tables.append(position)
        return super().table(position, kind)

    def _span(self, position: int, size: int) -> Span:
        self.vectors.append(position)
        return super()._span(position, size)


def truncated(base: Base, boundaries: list[int]) -> Iterator[Specimen]:
    """The first bytes only, cut before each of ``boundaries``."""
    for end in sorted(set(boundaries)):
        yield specimen(base, "truncated", f"the first {end} bytes", base.content[:end])


def even_cuts(base: Base, count: int) -> list[int]:
    return [len(base.content) * part // count for part in range(count)]


def flipped(base: Base, count: int, positions: list[int]) -> Iterator[Specimen]:
    """One bit each."""
    chance = random.Random(f"flip {base.name}")
    for _ in range(count):
        place, bit = chance.choice(positions), chance.randrange(8)
        content = bytearray(base.content)
        content[place] ^= 1 << bit
        name = f"bit {bit} of byte {place}"
        yield specimen(base, "bit flipped", name, bytes(content), harmless=True)


def spliced(base: Base, count: int) -> Iterator[Specimen]:
    """Parts left out, doubled, moved over others, or replaced by noise."""
    chance = random.Random(f"splice {base.name}")
    size = len(base.content)
    for number in range(count):
        start, length = chance.randrange(size), chance.choice((1, 3, 4, 16, 100, 1000))
        part = base.content[start : start + length]
        place = chance.randrange(size)
        before, after = base.content[:place], base.content[place:]
        made = {
            0: before + after[length:],
            1: before + part + after,
            2: before + part + after[len(part) :],
            3: before + chance.randbytes(length) + after[length:],
            4: after + before,
        }[number % 5]
        kind = ("cut out", "doubled", "moved", "noise", "turned round")[number % 5]
        name = f"{length} bytes {kind} at {place}, {number}"
        yield specimen(base, "spliced", name, made, harmless=True)


def offsets_rewritten(base: Base, count: int) -> Iterator[Specimen]:
    """Offsets to nowhere, to themselves, to one another, backwards through overflow."""
    survey, chance = Survey(base.content), random.Random(f"offset {base.name}")
    for number in range(count):
        place = chance.choice(survey.offsets)
        values = {
            "zero": 0,
            "beyond the end": len(base.content),
            "the largest": 0xFFFF_FFFF,
            "backwards": (chance.choice(survey.tables) - place) & 0xFFFF_FFFF,
            "odd": struct.unpack_from("<I", base.content, place)[0] + 1,
            "another table": abs(chance.choice(survey.tables) - place),
        }
        name, value = list(values.items())[number % len(values)]
        content = _with(base.content, place, "<I", value)
        yield specimen(
            base, "offset rewritten", f"at {place}: {name}, {number}", content, harmless=True
        )


def one_table_for_all(base: Base) -> Iterator[Specimen]:
    """Every offset of a long vector leads to the same element, or back to the root."""
    survey = Survey(base.content)
    for place in survey.vectors:
        count = struct.unpack_from("<I", base.content, place)[0]
        entries = range(place + 4, place + 4 + 4 * count, 4)
        if count < 3 or not set(entries) <= set(survey.offsets):
            continue
        for name, target in (("the first", None), ("the root", Survey(base.content).tables[0])):
            content = bytearray(base.content)
            first = place + 4 + struct.unpack_from("<I", content, place + 4)[0]
            for entry in entries:
                goal = first if target is None else target
                struct.pack_into("<I", content, entry, (goal - entry) & 0xFFFF_FFFF)
            yield specimen(base, "shared tables", f"vector {place}: all are {name}", bytes(content))


def vectors_lengthened(base: Base, count: int) -> Iterator[Specimen]:
    survey, chance = Survey(base.content), random.Random(f"vector {base.name}")
    for number in range(count):
        place, value = chance.choice(survey.vectors), LARGE[number % len(LARGE)]
        content = _with(base.content, place, "<I", value)
        yield specimen(base, "vector too long", f"at {place}: {value}, {number}", content)


def vtables_broken(base: Base, count: int) -> Iterator[Specimen]:
    """A table whose vtable is elsewhere, odd, or promises fields outside the table."""
    survey, chance = Survey(base.content), random.Random(f"vtable {base.name}")
    for number in range(count):
        table = chance.choice(survey.tables)
        vtable = table - struct.unpack_from("<i", base.content, table)[0]
        changes = {
            "is far before the file": (table, "<i", 0x7FFF_FFFF),
            "is far behind the file": (table, "<i", -0x8000_0000),
            "is the table itself": (table, "<i", 0),
            "is odd": (table, "<i", table - vtable + 1),
            "has no size": (vtable, "<H", 0),
            "is larger than the file": (vtable, "<H", 0xFFFE),
            "makes its table tiny": (vtable + 2, "<H", 3),
            "makes its table huge": (vtable + 2, "<H", 0xFFFF),
            "has a field outside": (vtable + 4, "<H", 0xFFF0),
        }
        name, (place, code, value) = list(changes.items())[number % len(changes)]
        content = _with(base.content, place, code, value)
        yield specimen(
            base, "vtable broken", f"of table {table} {name}, {number}", content, harmless=True
        )


def _with(content: bytes, place: int, code: str, value: int) -> bytes:
    changed = bytearray(content)
    if code == "<I":
        value &= 0xFFFF_FFFF
    struct.pack_into(code, changed, place, value)
    return bytes(changed)
