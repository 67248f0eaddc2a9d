"""The folder of a user's own profiles: each NAME.toml in it describes the target NAME."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from targets.errors import InputError, SordinoError
from targets.reading import InvalidProfileError, read_profile
from targets.schema import Target

VARIABLE = "SORDINO_TARGETS"


@dataclass(frozen=True)
class OwnProfile:
    """One file of the folder: its target, or the reason why it is none."""

    path: Path
    target: Target | None = None
    reason: str = ""


def own_folder() -> Path:
    """``$SORDINO_TARGETS``, else ``sordino/targets`` in the user's configuration folder."""
    if stated := os.environ.get(VARIABLE):
        return Path(os.path.expanduser(stated))
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # Its specification has a relative path ignored.
    config = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~/.config"))
    return config / "sordino" / "targets"


def own_names() -> tuple[str, ...]:
    """Names of the files in the folder, sorted; none where there is no folder."""
    try:
        return tuple(sorted(path.stem for path in own_folder().glob("*.toml")))
    except OSError:  # a folder one may not read
        return ()


def own_target(name: str, taken: tuple[str, ...]) -> Target:
    """The target ``name`` of the folder. Raises InputError when its file is broken, calls itself
    otherwise, or has one of the names ``taken`` by built-in targets."""
    path = own_folder() / f"{name}.toml"
    if name in taken:
        raise InputError(
            f"{path} has the name of the built-in target {name}.",
            hint="Give your target a name of its own.",
        )
    target = read_profile(path)
    if target.name != name:
        raise InputError(
            f"{path} calls itself {target.name!r}.", hint="Name the file as the target in it."
        )
    return target


def own_profiles(taken: tuple[str, ...]) -> tuple[OwnProfile, ...]:
    """All files of the folder; a broken one says so and hinders no other."""
    return tuple(_profile(name, taken) for name in own_names())


def _profile(name: str, taken: tuple[str, ...]) -> OwnProfile:
    path = own_folder() / f"{name}.toml"
    try:
        return OwnProfile(path, own_target(name, taken))
    except InvalidProfileError as error:
        more = f" {len(error.problems) - 1} more." if error.problems[1:] else ""
        return OwnProfile(path, reason=f"{error.problems[0]}{more}")
    except SordinoError as error:
        return OwnProfile(path, reason=error.message)
