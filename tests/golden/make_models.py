"""Make a shipped model from a run of ``sordino distill``: artefacts, scores, counts, card.

    python -m tests.golden.make_models mcu --run runs/mcu

Run from the project's root. Everything is made before the first file is written, so that a failed
run leaves the model as it was. With DNSMOS a set of 60 pairs takes about a minute of one core for
each system that is scored.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from distill.checkpoint import Checkpoint, load_checkpoint
from distill.corpus import Corpus, open_corpus
from distill.evaluation import NOISY, Candidate, artefact_candidate, checkpoint_candidate, evaluate
from distill.evaluation.material import paired_material
from export.pipeline import export_student, refuse_as_passed, unavailable_gates
from export.preparation import Quantizing
from export.quality_budget import parse_budget
from export.trained import of_checkpoint
from runtime.artefact import Artefact, sidecar_path
from runtime.devices.children import ToolMissing
from runtime.devices.simulator import measure
from runtime.figures import Figure
from runtime.metrics import choose_metrics, metric_versions
from runtime.models.card import Condition, ModelCard, Quality
from runtime.models.page import page
from runtime.models.shipped import CARD, PAGE, ROOT
from runtime.profiling.backends import Request
from runtime.publish import publish
from targets.command import run
from targets.errors import GateFailed, InputError
from tests.golden.model_cards import CHECKPOINT, PRECISIONS, card_json, card_of, quality_of

METRICS = ("si-sdr", "pesq", "stoi", "estoi", "dnsmos")
C_FORMAT = "c-int8"  # what simulated cores run; it is not shipped
CORES = "cortex-m4,cortex-m55"
FRAMES = 100
COUNTED = ("step, median", "hop of audio, median")


@click.command()
@click.argument("name")
@click.option("--run", "run_folder", type=click.Path(path_type=Path), required=True)
@click.option("--part", default="student", show_default=True, help="Checkpoint of the run.")
@click.option(
    "--alone", type=click.Path(path_type=Path), help="Trained without a teacher.  [RUN/control]"
)
@click.option("--data", default="../shared/data", show_default=True, help="What it was trained on.")
@click.option(
    "--pairs",
    type=click.Path(path_type=Path),
    default=Path("../shared/data/devtest"),
    show_default=True,
)
@click.option("--weights-only", is_flag=True, help="Of a teacher: no artefacts.")
@click.option("--quality-budget", "budget", help="As of `sordino export`.")
@click.option("--equalise", is_flag=True, help="As of `sordino export`.")
@click.option("--correct-biases", is_flag=True, help="As of `sordino export`.")
@click.option("--fine-tune", type=int, default=0, help="As of `sordino export`.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="[runtime/models/NAME of this checkout]"
)
def make(
    name: str,
    run_folder: Path,
    part: str,
    alone: Path | None,
    data: str,
    pairs: Path,
    weights_only: bool,
    budget: str | None,
    equalise: bool,
    correct_biases: bool,
    fine_tune: int,
    workers: int,
    output: Path | None,
) -> None:
    """Make the shipped model NAME from a run."""
    checkpoint = load_checkpoint(run_folder / part)
    corpus = _corpus(checkpoint, data)
    quantizing = Quantizing(
        equalise=equalise,
        correct_biases=correct_biases,
        fine_tune=fine_tune,
        budget=parse_budget(budget) if budget else None,
    )
    control = alone or run_folder / "control"
    with tempfile.TemporaryDirectory(prefix="sordino-") as place:
        made = [] if weights_only else _exported(name, checkpoint, corpus, quantizing, Path(place))
        shipped = [artefact for artefact in made if artefact.sidecar.target in PRECISIONS]
        costs = [cost for artefact in made for cost in _costs(artefact)]
        quality = _scored(checkpoint, control, shipped, pairs, workers)
        card = card_of(name, checkpoint, (corpus, data), shipped, quality, costs)
        _publish(output or ROOT / name, card, checkpoint, shipped)


def _corpus(checkpoint: Checkpoint, data: str) -> Corpus:
    """What the checkpoint was trained on: calibration and hours on the card are of nothing else."""
    corpus = open_corpus(data)
    if corpus.fingerprint != checkpoint.record.provenance.get("corpus_sha256"):
        raise InputError(
            f"{checkpoint.path} was not trained on {data}.",
            hint="Name its training data with --data.",
        )
    return corpus


def _exported(
    name: str, checkpoint: Checkpoint, corpus: Corpus, quantizing: Quantizing, folder: Path
) -> list[Artefact]:
    """Artefacts whose gates have all run and passed; files are named after the model."""
    trained = replace(of_checkpoint(checkpoint), role=name)
    targets = (*PRECISIONS, C_FORMAT)
    said: list[str] = []

    def progress(stage: str, done: float) -> None:
        if stage not in said:
            said.append(stage)
            _say(stage, done)

    made = export_student(trained, targets, folder, corpus, progress, quantizing)
    refuse_as_passed("Nothing is written", unavailable_gates(made))
    return made


def _say(stage: str, done: float) -> None:
    click.echo(f"{done:4.0%} {stage}", err=True)


def _costs(artefact: Artefact) -> list[Figure]:
    """Instructions of a step and of a hop on simulated cores, where their tools are installed."""
    if artefact.sidecar.target != C_FORMAT:
        return []
    _say("counting instructions", 0.0)
    try:
        findings = measure([artefact], Request(address=CORES, frames=FRAMES))
    except ToolMissing as error:
        click.echo(f"Instructions are not counted: {error.message} {error.hint}", err=True)
        return []
    costs = []
    for reading in findings.readings[0]:
        if not reading.matches:
            raise GateFailed(f"{artefact.path.name} on {reading.place}: {reading.difference}")
        costs += [
            figure.model_copy(update={"conditions": f"{C_FORMAT}, {figure.conditions}"})
            for figure in reading.figures
            if figure.name.startswith(COUNTED)
        ]
    return costs


def _scored(
    checkpoint: Checkpoint, control: Path, shipped: Sequence[Artefact], pairs: Path, workers: int
) -> Quality:
    metrics = choose_metrics(METRICS)
    missing = [tool for tool, found in metric_versions(metrics).items() if found == "not installed"]
    if missing:
        raise InputError(f"{missing[0]} is not installed.", hint="pip install 'sordino[metrics]'")
    conditions: dict[str, Condition] = {NOISY: "noisy"}
    candidates: list[Candidate] = []

    def add(condition: Condition, candidate: Candidate) -> None:
        conditions[candidate.name] = condition
        candidates.append(candidate)

    if (control / CHECKPOINT[0]).is_file():
        add("alone", checkpoint_candidate(control, "alone"))
    add("float", checkpoint_candidate(checkpoint.path, "float"))
    for artefact in shipped:
        precision = PRECISIONS[artefact.sidecar.target]
        add(precision, artefact_candidate(artefact.path, precision))
    items = paired_material(pairs)

    def progress(done: int, total: int) -> None:
        if done % len(items) == 0:
            _say("scoring", done / total)

    rows = evaluate(
        candidates,
        [item.mixture for item in items],
        checkpoint.record.contract,
        metrics=metrics,
        workers=workers,
        progress=progress,
    )
    return quality_of(pairs.name, conditions, rows, items)


def _publish(
    folder: Path, card: ModelCard, checkpoint: Checkpoint, shipped: Sequence[Artefact]
) -> None:
    """Write the model's folder, and take out of it what an earlier one had besides."""
    paths = [checkpoint.path / file for file in CHECKPOINT]
    paths += [path for one in shipped for path in (one.path, sidecar_path(one.path))]
    files = [(path.name, path.read_bytes()) for path in paths]
    files += [(PAGE, page(card).encode()), (CARD, card_json(card))]
    publish(folder, files)
    kept = {name for name, _ in files}
    for stray in folder.iterdir():
        if stray.is_file() and stray.name not in kept:
            stray.unlink()
    total = sum(len(content) for _, content in files)
    click.echo(f"{folder}: {len(files)} files, {total:,} bytes")


if __name__ == "__main__":
    sys.exit(run(make, "make_models"))
