"""Reading a flatbuffer that may have been made by anyone, by a table of its fields.

Every offset, vtable, vector and string must lie inside the file and be aligned as the format
demands (flatbuffers.dev, "FlatBuffer Internals"). Tables cannot nest deeper than the schema does,
and all that is read together may not exceed the file twice over, so that offsets which point to
the same place again and again gain nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from runtime.modelfile.refusal import Damaged, demand

MOST_ITEMS: Final = 1 << 17  # tables, and elements of vectors that become Python numbers
MOST_TABLES: Final = 1 << 13  # in one vector
LONGEST_STRING: Final = 1 << 16
OVERLAP_ALLOWANCE: Final = 1 << 12  # bytes that may be read again beyond twice the file

# Scalars by name: format of struct, bytes.
_SCALARS: Final = {
    "bool": ("?", 1),
    "i8": ("b", 1),
    "u8": ("B", 1),
    "u16": ("H", 2),
    "i32": ("i", 4),
    "u32": ("I", 4),
    "f32": ("f", 4),
    "i64": ("q", 8),
    "u64": ("Q", 8),
}


class Field(NamedTuple):
    """A field of a table.

    ``kind`` is a scalar (``i32``), ``string``, ``bytes`` (a vector of u8, left in place as a
    :class:`Span`), ``[i32]`` (a vector of scalars), ``Table``, ``[Table]``, or ``union``, whose
    type number is the field before it.
    """

    name: str
    kind: str
    default: Any = None


class Span(NamedTuple):
    """Bytes of the file: where they begin and how many they are."""

    start: int
    size: int


Record = dict[str, Any]
Schema = Mapping[str, tuple[Field, ...]]
Unions = Mapping[int, str]


def read_flatbuffer(
    content: bytes, identifier: bytes, schema: Schema, root: str, unions: Unions
) -> Record:
    """The whole file as nested records; a field that is absent has its default.

    ``unions`` gives the table of a union's type number; unions of other types are left unread.
    Raises Damaged.
    """
    demand(len(content) > 0, "it is empty")
    demand(len(content) >= 8, f"{len(content)} bytes are too few for any model")
    demand(content[4:8] == identifier, f"it does not bear the mark {identifier.decode()}")
    reader = _Reader(content, schema, unions)
    try:
        return reader.table(reader.offset(0), root)
    except Damaged as error:
        raise error if error.path else error.within("its root") from None


class _Reader:
    def __init__(self, content: bytes, schema: Schema, unions: Unions) -> None:
        self._content, self._size = content, len(content)
        self._schema, self._unions = schema, unions
        self._bytes_left = 2 * self._size + OVERLAP_ALLOWANCE
        self._items_left = MOST_ITEMS
        self._vtables: dict[int, tuple[int, ...]] = {}

    def offset(self, position: int) -> int:
        """Where the offset stored at ``position`` points to."""
        target = position + self._number(position, "u32")
        if target == position:
            raise Damaged("points to itself")
        self._demand_inside(target, 4, 1)
        return target

    def table(self, position: int, kind: str) -> Record:
        """The table at ``position``, with all that it points to."""
        size, *entries = self._vtable(position - self._number(position, "i32"))
        self._demand_inside(position, size, 4)
        self._spend(size, 1)
        fields = self._schema[kind]
        if any(entries[len(fields) :]):
            raise Damaged(f"has a field that sordino does not know in a {kind}")
        entries += [0] * (len(fields) - len(entries))
        record: Record = {}
        for field, entry in zip(fields, entries, strict=False):
            if not entry:
                record[field.name] = () if field.kind.startswith("[") else field.default
                continue
            try:
                self._demand_field(entry, field, size)
                record[field.name] = self._field(position + entry, field, record)
            except Damaged as error:
                raise error.within(field.name) from None
        return record

    def _field(self, position: int, field: Field, record: Record) -> Any:
        kind = field.kind
        if kind in _SCALARS:
            return self._number(position, kind)
        if kind == "union":
            known = self._unions.get(next(reversed(record.values())))
            return None if known is None else self.table(self.offset(position), known)
        target = self.offset(position)
        if kind == "string":
            return self._string(target)
        if kind == "bytes":
            return self._span(target, 1)
        if kind.startswith("["):
            return self._vector(target, kind[1:-1])
        return self.table(target, kind)

    def _vector(self, position: int, kind: str) -> tuple[Any, ...]:
        if kind in _SCALARS:
            code, size = _SCALARS[kind]
            span = self._span(position, size)
            count = span.size // size
            self._spend(0, count)
            return struct.unpack_from(f"<{count}{code}", self._content, span.start)
        span = self._span(position, 4)
        if span.size > 4 * MOST_TABLES:
            raise Damaged(f"has {span.size // 4} elements, more than any model")
        elements = []
        for index, entry in enumerate(range(span.start, span.start + span.size, 4)):
            try:
                elements.append(self.table(self.offset(entry), kind))
            except Damaged as error:
                raise error.within(f"[{index}]") from None
        return tuple(elements)

    def _span(self, position: int, size: int) -> Span:
        """The elements of the vector at ``position``, ``size`` bytes each."""
        start = position + 4
        total = self._number(position, "u32") * size
        self._demand_inside(start, total, size if total else 1)
        self._spend(total, 0)
        return Span(start, total)

    def _string(self, position: int) -> str:
        start, size = self._span(position, 1)
        if size > LONGEST_STRING:
            raise Damaged("is longer than any name")
        self._demand_inside(start, size + 1, 1)
        if self._content[start + size]:
            raise Damaged("is a string without an end")
        try:
            return self._content[start : start + size].decode("utf-8")
        except UnicodeDecodeError:
            raise Damaged("is not text") from None

    def _vtable(self, position: int) -> tuple[int, ...]:
        """Size of the table, then where each field begins in it, 0 for one that is absent."""
        if position not in self._vtables:
            size = self._number(position, "u16")
            self._demand_inside(position, size, 2)
            if size < 4 or size % 2:
                raise Damaged("has a vtable of impossible size")
            self._spend(size, size // 2)
            values = struct.unpack_from(f"<{size // 2}H", self._content, position)
            self._vtables[position] = values[1:]
        return self._vtables[position]

    def _demand_field(self, entry: int, field: Field, table_size: int) -> None:
        size = _SCALARS[field.kind][1] if field.kind in _SCALARS else 4
        if entry < 4 or entry + size > table_size:
            raise Damaged("lies outside its table")

    def _number(self, position: int, scalar: str) -> Any:
        code, size = _SCALARS[scalar]
        self._demand_inside(position, size, size)
        return struct.unpack_from(f"<{code}", self._content, position)[0]

    def _demand_inside(self, position: int, size: int, alignment: int) -> None:
        if position < 0 or position + size > self._size:
            raise Damaged("lies outside the file")
        if position % alignment:
            raise Damaged("is not aligned")

    def _spend(self, size: int, items: int) -> None:
        self._bytes_left -= size
        self._items_left -= items
        if self._bytes_left < 0:
            raise Damaged("overlaps other parts: together they claim more than the file has")
        if self._items_left < 0:
            raise Damaged("has more parts than any model")
