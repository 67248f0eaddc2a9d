"""From the text of a profile to a target, or to everything that is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from targets import schema
from targets.errors import InputError
from targets.schema import SCHEMA, InconsistentError, Problem, Target

LARGEST_PROFILE = 1 << 20  # bytes
HINT = "docs/targets.md lists the fields; every figure needs a source."

_OLDER = {
    "sordino-target/1": "since then [figures] became [[memory]] regions, clock_mhz and [budget], "
    "and a device has a class"
}
_WORDS = {
    "missing": "is missing",
    "string_too_short": "is empty",
    "too_short": "is empty",
}


class InvalidProfileError(InputError):
    """A text that is no profile. ``problems`` are all that were found, at least one."""

    def __init__(self, label: str, problems: tuple[Problem, ...]) -> None:
        first, *more = problems
        others = f" {len(more)} more: see `sordino targets check`." if more else ""
        super().__init__(f"{label} is not a valid target: {first}{others}", hint=HINT)
        self.problems = problems


def read_profile(path: Path) -> Target:
    """The target in a file. Raises InputError when it cannot be read and InvalidProfileError,
    an InputError too, when it is no profile."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder.", hint="Name a .toml file.")
        if not path.is_file():  # neither a folder nor a pipe, which would make us wait
            raise InputError(f"There is no target file {path}.", hint="Name a .toml file.")
        with path.open("rb") as stream:
            content = stream.read(LARGEST_PROFILE + 1)
        if len(content) > LARGEST_PROFILE:
            raise InputError(f"{path} is too large for a target profile.", hint=HINT)
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a text file.", hint="Name a .toml file in UTF-8."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise InputError(
            f"Cannot read the target file {path}.", hint="Name an existing UTF-8 .toml file."
        ) from error
    return parse_profile(text, path.name)


def parse_profile(text: str, label: str) -> Target:
    """The target that ``text`` describes; ``label`` names the file in messages."""
    try:
        raw = tomllib.loads(text)
        # Strict, for TOML has types and "12" is no number; but only JSON mode takes a list for a
        # tuple. Dates, which no field has, become texts.
        content = json.dumps(raw, default=str)
    except (ValueError, RecursionError) as error:
        wrong = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        problem = Problem("profile", f"not valid TOML: {wrong.rstrip('.')}")
        raise InvalidProfileError(label, (problem,)) from error
    if foreign := _foreign_schema(raw.get("schema")):
        raise InvalidProfileError(label, (foreign,))
    try:
        return Target.model_validate_json(content, strict=True)
    except ValidationError as error:
        problems = [problem for one in error.errors() for problem in _problems(one)]
        raise InvalidProfileError(label, tuple(problems)) from error


def _foreign_schema(stated: object) -> Problem | None:
    if stated == SCHEMA or not isinstance(stated, str):
        return None  # a missing one is told with the other missing fields
    changed = f"; {_OLDER[stated]}" if stated in _OLDER else ""
    return Problem("schema", f"is {stated[:40]!r}, and this version reads {SCHEMA}{changed}")


def _problems(error: ErrorDetails) -> tuple[Problem, ...]:
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, InconsistentError):
        return cause.problems
    field = _path(error["loc"])
    if error["type"] == "extra_forbidden":
        return (Problem(field, f"is no field of a profile{_meant(str(error['loc'][-1]))}"),)
    if error["type"] == "string_pattern_mismatch":
        url = error["loc"][-1] == "url"
        kind = "an https:// address" if url else "lower-case letters, digits and hyphens"
        return (Problem(field, f"must be {kind}, not {_shown(error['input'])}"),)
    if error["type"] == "value_error":
        return (Problem(field, str(cause)),)
    words = _WORDS.get(error["type"])
    if words is None:
        message = re.sub(r"^(Input|Value|String|Tuple) ", "", error["msg"])
        words = f"{message}, not {_shown(error['input'])}"
    return (Problem(field, words),)


def _path(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).lstrip(".") or "profile"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _meant(field: str) -> str:
    close = difflib.get_close_matches(field, _known_fields(), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _known_fields() -> list[str]:
    records = [one for one in vars(schema).values() if isinstance(one, type)]
    models = [one for one in records if issubclass(one, BaseModel)]
    fields = (one.model_fields.items() for one in models)
    return sorted({info.alias or name for pairs in fields for name, info in pairs})
