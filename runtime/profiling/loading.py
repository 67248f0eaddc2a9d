"""Reading a profile report that anyone may have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from runtime.profiling.records import SCHEMA, ProfileReport
from targets.errors import InputError

LARGEST_REPORT: Final = 32 << 20  # bytes; a report of ten models with all operators has some 500 kB
LARGEST_WHOLE: Final = 1 << 53  # beyond, whole numbers are no longer exact as floats
HINT: Final = "Write one with `sordino profile … --output BASE.json`."


def load_report(path: Path) -> ProfileReport:
    """The report in a JSON file, as `sordino profile` writes it. Raises InputError."""
    try:
        if not path.is_file():
            raise InputError(f"There is no profile {path}.", hint=HINT)
        with path.open("rb") as file:
            content = file.read(LARGEST_REPORT + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise InputError(f"Cannot read the profile {path}.", hint=HINT) from error
    return parse_report(content, path.name)


def parse_report(content: bytes, label: str) -> ProfileReport:
    """The report that ``content`` holds; ``label`` names it in messages. Raises InputError."""
    if len(content) > LARGEST_REPORT:
        raise InputError(
            f"{label} is larger than any profile (over {LARGEST_REPORT >> 20} MiB).", hint=HINT
        )
    try:
        data: Any = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label} is not valid JSON, or cut off.", hint=HINT) from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), str):
        raise InputError(f"{label} is no profile: it states no schema.", hint=HINT)
    if data["schema"] != SCHEMA:
        stated = ascii(data["schema"][:40])
        raise InputError(
            f"{label} is of schema {stated}, and this version reads {SCHEMA}.",
            hint="Make the profile anew with this version.",
        )
    data.pop("comparison", None)  # what --json adds to a report
    try:
        if complaint := _complaint(data):
            raise InputError(f"{label} is no profile: {complaint}.", hint=HINT)
        return ProfileReport.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ascii(".".join(map(str, first["loc"])))[1:-1][:80]
        raise InputError(f"{label} is no profile: {place}: {first['msg']}.", hint=HINT) from error
    except RecursionError as error:
        raise InputError(f"{label} is no profile: it is nested too deeply.", hint=HINT) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _complaint(value: Any) -> str:
    """What no report of ours holds and would lead astray who prints it or computes with it."""
    if isinstance(value, dict):
        return next(filter(None, (_complaint(part) for pair in value.items() for part in pair)), "")
    if isinstance(value, list):
        return next(filter(None, map(_complaint, value)), "")
    if isinstance(value, str) and not value.isprintable() and any(map(_moves_cursor, value)):
        return "a text has control characters"
    if isinstance(value, int | float) and not abs(value) <= LARGEST_WHOLE:
        return "a number is beyond all measure"
    return ""


def _moves_cursor(character: str) -> bool:
    return not character.isprintable() and character not in "\n\t\u00a0\u202f\u2009"
