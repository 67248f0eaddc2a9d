"""The targets that ship with sordino, and targets a user describes in a file of his own."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from targets.errors import InputError
from targets.own import own_folder, own_names, own_target
from targets.reading import parse_profile, read_profile
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
    "cortex-m0plus",
    "cortex-m3",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
    "nrf5340",
    "nrf54h20",
    "nrf54l15",
    "nrf54lm20",
    "apollo4-plus",
    "apollo510",
    "stm32h747",
    "stm32n6570-dk",
    "rt595",
    "alif-e7-hp",
    "alif-e7-he",
    "rp2350",
    "esp32-s3",
    "esp32-c3",
    "gap9",
    "corstone-300",
    "raspberry-pi",
    "raspberry-pi-zero-2",
    "raspberry-pi-3",
    "raspberry-pi-5",
    "phone",
    "phone-little",
)
USUAL = ("hearing-aid", "cortex-m4", "cortex-m55", "raspberry-pi", "phone")


@cache
def _builtin(name: str) -> Target:
    text = (resources.files("targets") / "profiles" / f"{name}.toml").read_text("utf-8")
    target = parse_profile(text, f"{name}.toml")
    if target.name != name:
        raise InputError(f"The built-in profile {name}.toml calls itself {target.name!r}.")
    return target


def usual_devices() -> tuple[Target, ...]:
    """One device of each class, for whom nobody names a target."""
    return tuple(_builtin(name) for name in USUAL)


def list_targets() -> tuple[Target, ...]:
    """All built-in targets, formats first. Those of the user: :func:`targets.own.own_profiles`."""
    return tuple(_builtin(name) for name in BUILTIN)


def load_target(name: str) -> Target:
    """The built-in target ``name``, the one of that name in the user's folder, or the one in a
    file whose name ends in ``.toml``.

    Raises InputError for an unknown name (with a suggestion) and for a file that is missing,
    malformed, or takes the name of a built-in target for something else.
    """
    if name.endswith(".toml"):
        return load_target_file(Path(name))
    if name in BUILTIN:
        return _builtin(name)
    own = own_names()
    if name in own:
        return own_target(name, BUILTIN)
    known = (*BUILTIN, *own)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    suggestion = f"Did you mean {close[0]!r}? " if close else ""
    raise InputError(
        f"No target {name!r}.",
        hint=f"{suggestion}`sordino targets` lists them; a .toml file of your own will do as well, "
        f"and by its name when it is in {own_folder()}.",
    )


def load_target_file(path: Path) -> Target:
    """A user's own target file. Raises InputError as :func:`load_target` does."""
    target = read_profile(path)
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
