"""Reading a protocol buffer that may have been made by anyone, by a table of its fields.

The wire format is that of protobuf.dev, "Encoding". Lengths must stay inside their message,
messages nest no deeper than the schema does, and fields that the schema does not list are passed
over once their length has been checked.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from runtime.modelfile.flatbuffer import Span
from runtime.modelfile.refusal import Damaged

MOST_ITEMS: Final = 200_000  # fields, and elements of packed fields
LONGEST_STRING: Final = 1 << 16
LONGEST_VARINT: Final = 10

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

Record = dict[str, Any]


class Field(NamedTuple):
    """A field of a message.

    ``kind`` is ``int`` (a varint, signed 64 bits), ``f32``, ``string``, ``bytes`` (left in place
    as a Span), or the name of a message; ``many`` is a repeated field, given as a tuple.
    """

    name: str
    kind: str
    many: bool = False


Schema = Mapping[str, Mapping[int, Field]]

_EMPTY: Final[dict[str, Any]] = {"int": 0, "f32": 0.0, "string": "", "bytes": None}
_WIRES: Final = {"int": VARINT, "f32": FIXED32}


def read_protobuf(content: bytes, schema: Schema, root: str) -> Record:
    """The whole message as nested records; a field that is absent is zero, empty or None.

    Raises Damaged.
    """
    try:
        return _Reader(content, schema).message(Span(0, len(content)), root)
    except Damaged as error:
        raise error if error.path else error.within("it") from None


class _Reader:
    def __init__(self, content: bytes, schema: Schema) -> None:
        self._content, self._schema = content, schema
        self._items_left = MOST_ITEMS

    def message(self, span: Span, kind: str) -> Record:
        fields = self._schema[kind]
        record: Record = {
            field.name: [] if field.many else _EMPTY.get(field.kind) for field in fields.values()
        }
        position, end = span.start, span.start + span.size
        while position < end:
            self._spend(1)
            key, position = self._varint(position, end)
            field = fields.get(key >> 3)
            try:
                value, position = self._value(position, end, key & 7)
                if field is not None:
                    self._keep(record, field, key & 7, value)
            except Damaged as error:
                name = field.name if field is not None else f"field {key >> 3}"
                index = f"[{len(record[name])}]" if field is not None and field.many else ""
                raise error.within(f"{name}{index}") from None
        return {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}

    def _value(self, position: int, end: int, wire: int) -> tuple[Any, int]:
        """A varint as an int, all else as the Span of its bytes; where the next field begins."""
        if wire == VARINT:
            return self._varint(position, end)
        if wire == LENGTH:
            size, position = self._varint(position, end)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise Damaged("has an unknown wire type")
        if size < 0 or size > end - position:
            raise Damaged("reaches beyond its end")
        return Span(position, size), position + size

    def _keep(self, record: Record, field: Field, wire: int, value: Any) -> None:
        packed = wire == LENGTH and field.kind in _WIRES and field.many
        if wire != _WIRES.get(field.kind, LENGTH) and not packed:
            raise Damaged("has the wrong wire type")
        if packed:
            record[field.name].extend(self._unpacked(value, field.kind))
        elif field.many:
            record[field.name].append(self._single(value, field.kind))
        elif field.kind in self._schema and record[field.name] is not None:
            raise Damaged("is there twice")
        else:
            record[field.name] = self._single(value, field.kind)

    def _single(self, value: Any, kind: str) -> Any:
        if kind == "int":
            return _signed(value)
        if kind == "f32":
            return struct.unpack_from("<f", self._content, value.start)[0]
        if kind == "string":
            return self._string(value)
        return value if kind == "bytes" else self.message(value, kind)

    def _unpacked(self, span: Span, kind: str) -> list[Any]:
        if kind == "f32":
            if span.size % 4:
                raise Damaged("is cut off")
            self._spend(span.size // 4)
            return list(struct.unpack_from(f"<{span.size // 4}f", self._content, span.start))
        values, position, end = [], span.start, span.start + span.size
        while position < end:
            self._spend(1)
            value, position = self._varint(position, end)
            values.append(_signed(value))
        return values

    def _string(self, span: Span) -> str:
        if span.size > LONGEST_STRING:
            raise Damaged("is longer than any name")
        try:
            return self._content[span.start : span.start + span.size].decode("utf-8")
        except UnicodeDecodeError:
            raise Damaged("is not text") from None

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for place in range(LONGEST_VARINT):
            if position + place >= end:
                raise Damaged("is cut off")
            byte = self._content[position + place]
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position + place + 1
        raise Damaged("has a number without an end")

    def _spend(self, items: int) -> None:
        self._items_left -= items
        if self._items_left < 0:
            raise Damaged("has more parts than any model")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
