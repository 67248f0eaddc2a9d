"""What an export is given: a run, or a function that returns a student of somebody else's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from distill.checkpoint import load_checkpoint
from distill.corpus import Corpus, open_corpus
from export.pipeline import training_corpus
from export.trained import Trained, of_checkpoint, of_factory
from runtime.contract import resolve_contract
from runtime.publish import check_writable
from targets.errors import InputError

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
ARTEFACTS = "artefacts"  # where a run's models go
DEFAULT_CONTRACT = "phone"


@dataclass(frozen=True)
class Source:
    """A student, the corpus to calibrate and to judge on, and the folder for its artefacts."""

    trained: Trained
    corpus: Corpus
    output: Path


def open_source(
    what: str,
    output: Path | None,
    data: str | None,
    weights: Path | None = None,
    contract: str | None = None,
) -> Source:
    """The student behind ``what``, a run's folder or ``package.module:function``.

    ``output`` and ``data`` may be left out for a run: its own folder, and the corpus it was
    trained on. ``weights`` and the name of a ``contract`` belong to a function. Raises InputError.
    """
    if FACTORY.fullmatch(what) and not Path(what).exists():
        return _of_factory(what, output, data, weights, contract or DEFAULT_CONTRACT)
    if weights is not None or contract is not None:
        raise InputError(
            "A run brings its weights and its contract.",
            hint="--weights and --contract belong to a MODULE:FUNCTION.",
        )
    checkpoint = load_checkpoint(Path(what))
    folder = output or Path(what) / ARTEFACTS
    check_writable(folder)
    corpus = open_corpus(data) if data is not None else training_corpus(checkpoint)
    return Source(of_checkpoint(checkpoint), corpus, folder)


def _of_factory(
    factory: str, output: Path | None, data: str | None, weights: Path | None, contract: str
) -> Source:
    if output is None or data is None:
        raise InputError(
            f"{factory} says neither where its artefacts go nor what it was trained on.",
            hint="Name a folder with -o and a corpus with --data.",
        )
    check_writable(output)
    corpus = open_corpus(data)
    return Source(of_factory(factory, weights, resolve_contract(contract)), corpus, output)
