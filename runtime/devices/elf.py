"""Sizes of the sections of a 32-bit little-endian ELF file, as linkers write firmware."""

from __future__ import annotations

import struct

from targets.errors import GateUnavailable

_MAGIC = b"\x7fELF\x01\x01"  # 32 bits, little endian
_TABLE = struct.Struct("<32xI10xHHH")  # place, entry size, count and name table of the sections
_SECTION = struct.Struct("<I12xII16x")  # place of the name, place and bytes of the section


def section_sizes(firmware: bytes) -> dict[str, int]:
    """Bytes of every section by name. Raises GateUnavailable for what is no such file."""
    try:
        return _sizes(firmware)
    except (struct.error, IndexError, ValueError) as error:
        raise GateUnavailable("The sections of the linked firmware cannot be read.") from error


def _sizes(firmware: bytes) -> dict[str, int]:
    if not firmware.startswith(_MAGIC):
        raise ValueError("another kind of file")
    start, size, count, names = _TABLE.unpack_from(firmware)
    sections = [_SECTION.unpack_from(firmware, start + size * index) for index in range(count)]
    _, place, _ = sections[names]

    def name(offset: int) -> str:
        return firmware[place + offset : firmware.index(0, place + offset)].decode("ascii")

    return {name(offset): length for offset, _, length in sections[1:]}
