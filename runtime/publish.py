"""Putting finished files in place: all of them or none, earlier ones restored on failure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from runtime.artefact import write_atomically
from targets.errors import InputError


def check_writable(folder: Path) -> None:
    """Raise InputError early where ``folder`` can be neither made nor written to."""
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"{nearest} is not a folder.", hint="Choose another output folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"No permission to write in {nearest}.", hint="Choose another folder.")


def publish(folder: Path, files: Sequence[tuple[str, bytes]]) -> None:
    """Write named files in order, a name may lie in a folder within. On any failure, Ctrl-C
    included, the folder is as it was.

    Raises InputError when the system refuses.
    """
    made = _make(folder)
    before: dict[Path, bytes | None] = {}
    try:
        for name, content in files:
            path = folder / name
            made = [*_make(path.parent), *made]
            before[path] = path.read_bytes() if path.exists() else None
            write_atomically(path, content)
    except BaseException as error:
        _restore(before)
        with suppress(OSError):  # another program put something there: leave it
            for created in made:
                created.rmdir()
        if isinstance(error, OSError):
            raise InputError(
                f"Cannot write to {folder} ({error.strerror or error}).",
                hint="Free some space or choose another output folder.",
            ) from error
        raise


def _make(folder: Path) -> list[Path]:
    """Make a folder; returns those that did not exist, the deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot make the folder {folder} ({error.strerror}).", hint="Choose another one."
        ) from error
    return missing


def _restore(before: dict[Path, bytes | None]) -> None:
    for path, content in before.items():
        if content is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, content)
