"""The constants of a program: tables, each printed once however often it is used, and structs."""

from __future__ import annotations

from dataclasses import dataclass, field

from export.c.call import Call, FieldValue, Params, Table
from export.c.printing import params_text, table_text

_WORD = 4  # bytes of a scalar field or a pointer on a 32-bit core


@dataclass
class Constants:
    """Collects definitions in order; equal tables share a name."""

    name: str
    text: list[str] = field(default_factory=list)
    size: int = 0  # bytes of tables and, with one word per field, structs
    _tables: dict[tuple[str, bytes], str] = field(default_factory=dict)
    _structs: dict[str, str] = field(default_factory=dict)
    _title: str = ""

    def title(self, comment: str) -> None:
        """A comment above the definitions that follow, if any do."""
        self._title = f"/* {comment} */\n"

    def table(self, label: str, table: Table) -> str:
        """The name of a table, defined on first use as ``<name>_<label>``."""
        key = (table.ctype, table.values.tobytes())
        if key not in self._tables:
            name = f"{self.name}_{label}"
            self._tables[key] = name
            self._add(table_text(name, table))
            self.size += table.nbytes
        return self._tables[key]

    def params(self, label: str, call: Call) -> str:
        """The name of a call's parameter struct."""
        names = {
            key: self.table(f"{label}_{key}", value)
            for key, value in call.params.fields
            if isinstance(value, Table)
        }
        text = params_text("@", call.params, names)
        if text not in self._structs:
            self._structs[text] = f"{self.name}_{label}"
            self._add(params_text(self._structs[text], call.params, names))
            self.size += _struct_bytes(call.params)
        return self._structs[text]

    def _add(self, definition: str) -> None:
        self.text.append(self._title + definition)
        self._title = ""


def _struct_bytes(params: Params) -> int:
    return sum(_WORD * _words(value) for _, value in params.fields)


def _words(value: FieldValue) -> int:
    return sum(map(_words, value)) if isinstance(value, tuple) else 1
