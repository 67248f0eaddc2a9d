"""The ``evaluate`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.ranges import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distill.corpus import Corpus
    from distill.evaluation.candidates import Candidate, Recordings
    from distill.evaluation.material import Item
    from distill.evaluation.scoring import Row
    from distill.leakage import TestSet, Verdict
    from runtime.metrics import Audiogram

DEFAULT_METRICS = "si-sdr,pesq,stoi,estoi,dnsmos"


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--pairs", type=click.Path(path_type=Path), help="Folder with noisy/NAME and clean/NAME."
)
@click.option("--data", help="Corpus whose held-out split is mixed [the embedded demo corpus].")
@click.option("--items", type=click.IntRange(min=1), help="Mixtures of --data.  [default: 60]")
@click.option("--seconds", type=FiniteRange(min=0.5), help="Of a mixture.  [default: 4]")
@click.option("--seed", type=click.IntRange(min=0), help="Of the mixtures.  [default: 0]")
@click.option(
    "--metrics",
    default=DEFAULT_METRICS,
    show_default=True,
    help="Names with commas between; with --audiogram haspi and hasqi are added.",
)
@click.option("--audiogram", help="For HASPI and HASQI: normal, N1 … N7, S1 … S3, or a JSON file.")
@click.option(
    "--by",
    type=click.Choice(["none", "snr", "noise"]),
    default="none",
    show_default=True,
    help="Also show the items in groups.",
)
@click.option("--engine", help="Inference engine for model files.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that score [all cores].")
@click.option(
    "--trained-on",
    multiple=True,
    metavar="CORPUS",
    help="Where training data lies now, to compare the test items with.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every item's scores as JSON.")
def evaluate(
    models: tuple[Path, ...],
    pairs: Path | None,
    data: str | None,
    items: int | None,
    seconds: float | None,
    seed: int | None,
    metrics: str,
    audiogram: str | None,
    by: str,
    engine: str | None,
    workers: int | None,
    trained_on: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score models beside the noisy input, with 95 % intervals.

    MODELS are checkpoints, model files, or folders: a run stands for its networks, a folder of
    artefacts for all of them, a folder of recordings for what was denoised elsewhere (--pairs).
    Refused where a model was trained on a speaker or a recording of the test items.
    """
    _one_thread()
    from distill.evaluation.statistics import Resampling

    _check_options(pairs, data, items, seconds, seed)
    heard, chosen = _metrics(metrics, audiogram)
    number = workers or _cores()
    paired = None if pairs is None else _paired(pairs)
    candidates = _candidates(models, engine, paired and [item.name for item in paired[0]])
    material, test = paired or _mixed(data, items or 60, seconds or 4.0, seed or 0)
    verdicts = _check_leakage(candidates, test, trained_on, number)
    rows = _scored(candidates, material, chosen, heard, number)
    if as_json:
        import json

        from distill.evaluation.report import full_report

        told = full_report(rows, material, Resampling(), verdicts, heard)
        click.echo(json.dumps(told, indent=1))
    else:
        from rich.console import Console

        from distill.evaluation.tables import tables

        console = Console()
        for one in tables(rows, material, by, verdicts, heard, Resampling(), console.width):
            console.print(one)
    _refuse_unchecked(verdicts)


def _one_thread() -> None:
    """Before numpy is imported: what is computed must not depend on how many cores there are."""
    import os

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _check_options(pairs: Path | None, data: str | None, *of_mixtures: float | None) -> None:
    from targets.errors import InputError

    if pairs is None:
        return
    if data is not None:
        raise InputError("--pairs and --data exclude each other.", hint="Give one of them.")
    if any(value is not None for value in of_mixtures):
        raise InputError(
            "--items, --seconds and --seed are for mixtures of --data.",
            hint="Pairs are used as they are.",
        )


def _metrics(metrics: str, audiogram: str | None) -> tuple[Audiogram | None, tuple[str, ...]]:
    """The listener, and the names of the metrics in order."""
    from runtime.metrics import choose_metrics, open_audiogram
    from runtime.metrics.scores import NEED_AUDIOGRAM
    from targets.errors import InputError

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    heard = None if audiogram is None else open_audiogram(audiogram)
    chosen = choose_metrics([*names, *(NEED_AUDIOGRAM if heard else ())])
    if not chosen:
        raise InputError("No metric was named.", hint=f"Usual ones: {DEFAULT_METRICS}.")
    if heard is None and (lacking := [name for name in chosen if name in NEED_AUDIOGRAM]):
        raise InputError(
            f"{lacking[0]} needs to know the listener.", hint="Add --audiogram, for example N3."
        )
    return heard, chosen


def _paired(pairs: Path) -> tuple[list[Item], TestSet]:
    from distill.evaluation.material import paired_material, paired_sounds
    from distill.leakage import TestSet

    material = paired_material(pairs)
    return material, TestSet(tuple(paired_sounds(material)))


def _mixed(data: str | None, count: int, seconds: float, seed: int) -> tuple[list[Item], TestSet]:
    from distill.corpus import open_corpus
    from distill.evaluation.material import corpus_material
    from distill.leakage import TestSet, clip_sounds

    corpus = open_corpus(data)
    material = corpus_material(corpus, corpus.held_out, count, seconds, seed)
    return material, TestSet(tuple(clip_sounds(corpus, [corpus.held_out])), corpus)


def _candidates(
    models: Sequence[Path], engine: str | None, names: list[str] | None
) -> list[Candidate | Recordings]:
    import torch

    from distill.evaluation.candidates import open_candidates
    from targets.errors import InputError

    torch.set_num_threads(1)
    candidates = [one for model in models for one in open_candidates(model, engine, names)]
    given = [candidate.name for candidate in candidates]
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise InputError(
            f"{twice[0]} is named twice.",
            hint="Name each model once; model files of different folders need different names.",
        )
    return candidates


def _check_leakage(
    candidates: Sequence[Candidate | Recordings],
    test: TestSet,
    trained_on: Sequence[str],
    workers: int,
) -> list[Verdict]:
    from distill.leakage import check_leakage
    from runtime.progress import ProgressBar

    models = [(candidate.name, candidate.trained_on) for candidate in candidates]
    given: list[Corpus] = []
    if trained_on:
        from distill.corpus import open_corpus

        given = [open_corpus(place) for place in trained_on]
    with ProgressBar("Comparing with the training data") as bar:
        return check_leakage(models, test, given, workers, bar.update)


def _scored(
    candidates: Sequence[Candidate | Recordings],
    material: Sequence[Item],
    metrics: Sequence[str],
    audiogram: Audiogram | None,
    workers: int,
) -> list[Row]:
    from distill.evaluation.scoring import evaluate as score
    from runtime.progress import ProgressBar
    from runtime.stft import StftContract

    with ProgressBar("Scoring") as bar:
        return score(
            candidates,
            [item.mixture for item in material],
            StftContract(),
            metrics=metrics,
            audiogram=audiogram,
            workers=workers,
            progress=bar.update,
        )


def _refuse_unchecked(verdicts: Sequence[Verdict]) -> None:
    """A comparison with training data that could not be made is not a pass."""
    from targets.errors import GateUnavailable

    unchecked = [one for one in verdicts if one.state == "unavailable"]
    if unchecked:
        raise GateUnavailable(
            f"Scored, but {unchecked[0].model} could not be compared with its training data: "
            f"{unchecked[0].detail}.",
            hint="Say where that data lies now with --trained-on.",
        )
