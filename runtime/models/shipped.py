"""Finding shipped models, and their files as they were shipped."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from runtime.artefact import ModelFile
from runtime.models.card import NAME, ArtefactFiles, ModelCard, Precision
from targets.errors import InputError

ROOT: Final = Path(__file__).parent  # a folder in it for each model
CARD: Final = "card.json"
PAGE: Final = "CARD.md"
DEFAULT: Final = "mcu"  # what denoises where no model is named
DAMAGED: Final = "Install sordino again, or copy the model anew: `sordino models get`."


@dataclass(frozen=True)
class ShippedModel:
    """A model's card and the folder that holds its files."""

    card: ModelCard
    folder: Path

    def artefact(self, precision: Precision = "int8") -> Path:
        """The model file of a precision; its sidecar lies beside it.

        Raises InputError when it is not shipped in that precision, or is damaged.
        """
        files = self.artefact_files(precision)
        self.read(files.sidecar)
        self.read(files.model)
        return self.folder / files.model.file

    def artefact_files(self, precision: Precision) -> ArtefactFiles:
        """Raises InputError when the model is not shipped in that precision."""
        for files in self.card.artefacts:
            if files.precision == precision:
                return files
        known = ", ".join(self.card.precisions)
        raise InputError(
            f"The model {self.card.name} is not shipped as {precision}.",
            hint=f"It is there as {known}."
            if known
            else "It is there as weights only, to teach: "
            f"`teacher: {{model: {self.card.name}}}` in a recipe.",
        )

    def checkpoint(self) -> Path:
        """The folder, as that of a checkpoint. Raises InputError when weights are damaged."""
        for file in self.card.checkpoint:
            self.read(file)
        return self.folder

    def read(self, file: ModelFile) -> bytes:
        """The content of a file of the card. Raises InputError unless it is the one shipped."""
        try:
            content = (self.folder / file.file).read_bytes()
        except FileNotFoundError as error:
            raise InputError(
                f"{file.file} of the model {self.card.name} is missing.", hint=DAMAGED
            ) from error
        if len(content) != file.bytes or hashlib.sha256(content).hexdigest() != file.sha256:
            raise InputError(
                f"{file.file} of the model {self.card.name} is not what was shipped "
                "(size or SHA-256 differs).",
                hint=DAMAGED,
            )
        return content


def model_names() -> list[str]:
    """Names of the shipped models, sorted."""
    return sorted(path.parent.name for path in ROOT.glob(f"*/{CARD}"))


def open_model(name: str) -> ShippedModel:
    """A shipped model by name.

    Raises InputError for an unknown name, with the closest one, and for a damaged card.
    """
    names = model_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"There is no shipped model {name!r}.", hint=f"{hint}Shipped: {_listed(names)}."
        )
    return _open_folder(ROOT / name)


def _open_folder(folder: Path) -> ShippedModel:
    try:
        card = ModelCard.model_validate_json((folder / CARD).read_bytes())
    except ValidationError as error:
        raise InputError(
            f"The card of the model {folder.name} is damaged.", hint=DAMAGED
        ) from error
    return ShippedModel(card, folder)


def model_file(what: Path) -> Path:
    """The model file that a command was given: a path, or the name of a shipped model.

    Where something lies at the path it is meant; else a shipped model's name stands for its int8
    artefact, and so does the folder of a copy. Anything else stays as it is, for whoever opens it
    to say what is missing. Raises InputError for a name that is nearly that of a shipped model,
    and as :meth:`ShippedModel.artefact` does.
    """
    name = str(what)
    if (what / CARD).is_file():
        return _open_folder(what).artefact()
    if what.exists() or not re.fullmatch(NAME, name):
        return what
    names = model_names()
    if name not in names and not difflib.get_close_matches(name, names, n=1):
        return what
    return open_model(name).artefact()


def default_model() -> Path:
    """The model file that is used where none is named. Raises InputError where none is shipped."""
    if DEFAULT not in model_names():
        raise InputError(
            f"No model is named, and {DEFAULT} is not shipped here.",
            hint="Name one: --model student-tflite-int8.tflite",
        )
    return open_model(DEFAULT).artefact()


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
