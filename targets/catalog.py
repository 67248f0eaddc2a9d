"""The targets that ship with sordino, and targets a user describes in a file of his own."""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from targets.errors import InputError
from targets.schema import Target

Origin = Literal["builtin", "custom"]
BUILTIN = (
    "tflite-int8",
    "tflite-int16x8",
    "tflite-fp32",
    "tflite-fp16",
    "tflite-int8w",
    "onnx-fp32",
    "onnx-int8",
    "c-int8",
    "c-int16x8",
    "c-fp32",
    "hearing-aid",
    "cortex-m4",
    "cortex-m55",
    "raspberry-pi",
    "phone",
)
LARGEST_PROFILE = 1 << 20  # bytes


@cache
def _builtin(name: str) -> Target:
    text = (resources.files("targets") / "profiles" / f"{name}.toml").read_text("utf-8")
    target = _parse(text, f"{name}.toml")
    if target.name != name:
        raise InputError(f"The built-in profile {name}.toml calls itself {target.name!r}.")
    return target


def _parse(text: str, label: str) -> Target:
    try:
        return Target.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{label} is not valid TOML: {error}.", hint="See docs/targets.md."
        ) from error
    except RecursionError as error:
        raise InputError(f"{label} is nested too deeply.", hint="See docs/targets.md.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "profile"
        raise InputError(
            f"{label} is not a valid target: {where}: {first['msg']}.",
            hint="docs/targets.md lists the fields; every figure needs a source.",
        ) from error


def list_targets() -> tuple[Target, ...]:
    """All built-in targets, formats first."""
    return tuple(_builtin(name) for name in BUILTIN)


def load_target(name: str) -> Target:
    """The built-in target ``name``, or the one described in a file whose name ends in ``.toml``.

    Raises InputError for an unknown name (with a suggestion) and for a file that is missing,
    malformed, or takes the name of a built-in target for something else.
    """
    if name.endswith(".toml"):
        return load_target_file(Path(name))
    if name in BUILTIN:
        return _builtin(name)
    close = difflib.get_close_matches(name, BUILTIN, n=1, cutoff=0.5)
    suggestion = f"Did you mean {close[0]!r}? " if close else ""
    raise InputError(
        f"No target {name!r}.",
        hint=f"{suggestion}Known: {', '.join(BUILTIN)}; or give a .toml file of your own.",
    )


def load_target_file(path: Path) -> Target:
    """A user's own target file. Raises InputError as :func:`load_target` does."""
    try:
        if path.stat().st_size > LARGEST_PROFILE:
            raise InputError(f"{path} is too large for a target profile.")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Cannot read the target file {path}.", hint="Name an existing UTF-8 .toml file."
        ) from error
    target = _parse(text, path.name)
    if target.name in BUILTIN and origin_of(target) == "custom":
        raise InputError(
            f"{path.name} describes {target.name!r}, which is a built-in target.",
            hint="Give your target a name of its own.",
        )
    return target


def origin_of(target: Target) -> Origin:
    """'builtin' exactly when ``target`` equals the profile shipped under its name.

    Origin is compared, never stored, so that no file and no copy can claim it.
    """
    return "builtin" if target.name in BUILTIN and target == _builtin(target.name) else "custom"
