"""Numbers, tables and names as C99 text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

import numpy as np

from export.c.call import CType, FieldValue, Params, Table

_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """auto break case char const continue default do double else enum extern float for goto if
        inline int long register restrict return short signed sizeof static struct switch typedef
        union unsigned void volatile while bool true false asm near far interrupt main""",
    )
)
_LINE = 100  # columns
_PIECE = 4096  # values
LONGEST_NAME = 40


def identifier(name: str, taken: set[str]) -> str:
    """A C identifier in lower case made from ``name``, not in ``taken``, to which it is added."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())[:LONGEST_NAME].strip("_")
    if not plain or plain[0].isdigit() or plain in _KEYWORDS:
        plain = f"t_{plain}"
    unique, number = plain, 2
    while unique in taken:
        unique, number = f"{plain}_{number}", number + 1
    taken.add(unique)
    return unique


def comment_text(text: str) -> str:
    """``text`` for use inside a comment: nothing in it can end the comment or the line."""
    return re.sub(r"[^A-Za-z0-9_.,:;=+<>()\[\]\-/ ]", "_", text)[:160]


def integer(value: int) -> str:
    """An integer constant of a type that holds it."""
    if value in (-(2**31), -(2**63)):  # the minus is no part of a constant
        return f"({integer(value + 1)} - 1)"
    if -(2**31) < value < 2**31:
        return str(value)
    return f"{value}u" if 0 < value < 2**32 else f"{value}LL"


def real(value: float) -> str:
    """A float constant with enough digits to be read back exactly. Raises ValueError for NaN."""
    if not math.isfinite(value):
        raise ValueError(f"{value} has no constant in C")
    digits = f"{value:.9g}"
    return f"{digits}f" if re.search(r"[.e]", digits) else f"{digits}.0f"


def number(value: int | float) -> str:
    return integer(value) if isinstance(value, int) else real(value)


def table_text(name: str, table: Table) -> str:
    """The definition of a constant array."""
    values = _constants(table)
    head = f"static const {table.ctype} {name}[{table.values.size}] SORDINO_ALIGNED = {{"
    return "\n".join([head, *_wrapped(values), "};"])


def _constants(table: Table) -> Iterator[str]:
    """In pieces: as strings, a large table would need far more memory than it has bytes."""
    for start in range(0, table.values.size, _PIECE):
        piece = table.values[start : start + _PIECE].tolist()
        yield from map(real if table.ctype == "float" else integer, piece)


def _wrapped(values: Iterable[str]) -> list[str]:
    lines, line = [], "   "
    for value in values:
        if len(line) + len(value) + 2 > _LINE:
            lines.append(line)
            line = "   "
        line += f" {value},"
    return [*lines, line]


def params_text(name: str, params: Params, tables: dict[str, str]) -> str:
    """The definition of a parameter struct; ``tables`` names the table behind each field."""
    lines = [f"static const {params.ctype} {name} = {{"]
    lines += [f"    .{key} = {_field(value, tables.get(key))}," for key, value in params.fields]
    return "\n".join([*lines, "};"])


def _field(value: FieldValue, table: str | None) -> str:
    if table is not None:
        return table
    if isinstance(value, tuple):
        return "{" + ", ".join(_field(item, None) for item in value) + "}"
    assert not isinstance(value, Table)
    return number(value)


def c_type(dtype: str) -> CType:
    """The C type of a tensor's elements."""
    types: dict[str, CType] = {
        "float32": "float",
        "int8": "int8_t",
        "int16": "int16_t",
        "int32": "int32_t",
        "int64": "int64_t",
    }
    return types[np.dtype(dtype).name]
