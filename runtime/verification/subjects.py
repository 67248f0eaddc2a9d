"""Which models a path stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.artefact import C_MODEL, Artefact, load_artefact, sidecar_path
from runtime.verification.results import Section, judged
from targets.errors import InputError

MODELS = (".tflite", ".onnx")
SOUND = "read without harm, as the sidecar describes it"


@dataclass(frozen=True)
class Found:
    """The artefacts at a path, and a failed gate for each that is not what its sidecar says."""

    artefacts: tuple[Artefact, ...]
    refused: tuple[Section, ...]


def artefacts_at(path: Path) -> Found:
    """The artefact at ``path``, or all those in a folder, sorted by name.

    Raises InputError when there is none, or one lies there without a sidecar.
    """
    found: list[Artefact] = []
    refused: list[Section] = []
    for model in _models(path):
        if not sidecar_path(model).is_file():
            load_artefact(model)  # says what is missing
        try:
            found.append(load_artefact(model))
        except InputError as error:
            gate = judged("sound", [error.message], "", SOUND, likely="it was altered or cut off")
            refused.append(Section(_subject(model), (gate,)))
    return Found(tuple(found), tuple(refused))


def _models(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if (path / C_MODEL).is_file():
        return [path / C_MODEL]
    if not path.is_dir():
        raise InputError(f"There is nothing at {path}.", hint="Check the path.")
    inside = sorted(path.iterdir())
    models = [one for one in inside if one.is_file() and one.suffix.lower() in MODELS]
    models += [one / C_MODEL for one in inside if (one / C_MODEL).is_file()]
    if not models:
        raise InputError(
            f"There is no model in {path}.",
            hint="Name a model, the folder that `sordino export` wrote, a run, or a pack.",
        )
    return models


def _subject(model: Path) -> str:
    """The name of a model: C has a folder of its own, which bears it."""
    return model.parent.name if model.name == C_MODEL else model.stem
