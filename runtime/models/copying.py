"""Copying a shipped model into a folder of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from runtime.artefact import ModelFile
from runtime.models.page import page
from runtime.models.shipped import CARD, PAGE, ShippedModel
from runtime.publish import publish
from targets.errors import InputError

Part = Literal["int8", "int16x8", "weights", "all"]
PARTS: Final[tuple[Part, ...]] = ("int8", "int16x8", "weights", "all")


def copy_model(model: ShippedModel, folder: Path, part: Part = "all", *, force: bool) -> list[Path]:
    """Write a part of a model, with its card, into ``folder``; returns the files.

    All are written or none, each checked against the card. The folder may hold other files. Raises
    InputError for a part that is not shipped, a damaged file, and, without ``force``, a file that
    is there with another content.
    """
    card = model.card
    content = {file.file: model.read(file) for file in _files(model, part)}
    content[PAGE] = page(card).encode()
    content[CARD] = (model.folder / CARD).read_bytes()
    if not force:
        _refuse_to_replace(folder, content)
    publish(folder, list(content.items()))
    return [folder / name for name in content]


def _files(model: ShippedModel, part: Part) -> tuple[ModelFile, ...]:
    if part == "all":
        return model.card.files
    if part == "weights":
        return model.card.checkpoint
    files = model.artefact_files(part)
    return (files.model, files.sidecar)


def _refuse_to_replace(folder: Path, content: dict[str, bytes]) -> None:
    for name, expected in content.items():
        path = folder / name
        if path.is_dir() or (path.is_file() and path.read_bytes() != expected):
            raise InputError(
                f"{path} is there already, with another content.",
                hint="Choose another folder with -o, or replace it with --force.",
            )
