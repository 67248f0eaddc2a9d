"""The ``distill`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distill.evaluation import Row
    from distill.recipe import Recipe
    from distill.road import StageProgress


@click.command()
@click.argument("recipe", default="demo")
@click.option("--data", help="Corpus: a manifest, a data folder, or 'demo' (overrides the recipe).")
@click.option(
    "--pairs",
    type=click.Path(path_type=Path),
    help="Folder with noisy/ and clean/ pairs for the closing table (overrides the recipe).",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder [runs/NAME].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads [all cores].")
@click.option(
    "--seed", type=click.IntRange(min=0, max=(1 << 32) - 1), help="Overrides the recipe's seed."
)
@click.option("--tensorboard", is_flag=True, help="Also log to RUN/NETWORK/tensorboard.")
@click.option("--json", "as_json", is_flag=True, help="Print the closing table as JSON.")
def distill(
    recipe: str,
    data: str | None,
    pairs: Path | None,
    output: Path | None,
    device: str,
    threads: int | None,
    seed: int | None,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Make a small streaming student from a teacher.

    RECIPE is a YAML file or the name of a built-in recipe. The teacher is trained first unless
    the recipe names one. A run that was interrupted resumes when the command is given again.
    Several processes or GPUs: `torchrun --nproc-per-node 2 -m sordino distill …`.
    """
    from distill.processes import is_first
    from distill.road import evaluate_run

    loaded = resolve(recipe, data, pairs, seed)
    folder = output or Path("runs") / loaded.name
    chosen = train_with_progress(loaded, folder, device, threads, tensorboard)
    if not is_first():
        return
    rows = evaluate_run(loaded, folder, chosen)
    if as_json:
        _print_json(folder, rows)
    else:
        print_table(rows)
        click.echo(f"Student: {folder / 'student'}\nNext: sordino export {folder}")


def resolve(recipe: str, data: str | None, pairs: Path | None, seed: int | None) -> Recipe:
    """A recipe with what the command line overrides."""
    from distill.recipe import load_recipe

    loaded = load_recipe(recipe)
    changes: dict[str, object] = {}
    if data is not None:
        changes["data"] = data
    if seed is not None:
        changes["seed"] = seed
    if pairs is not None:
        changes["evaluation"] = loaded.evaluation.model_copy(update={"pairs": pairs})
    return loaded.model_copy(update=changes)


def train_with_progress(
    recipe: Recipe,
    folder: Path,
    device: str,
    threads: int | None,
    tensorboard: bool = False,
) -> str:
    """Train all networks of a recipe, bars on stderr; returns the device used."""
    import torch

    from distill.corpus import open_corpus
    from distill.processes import is_first
    from distill.road import distil, lint_student

    torch.set_num_threads(threads or default_threads())
    torch.set_flush_denormal(True)
    chosen = choose_device(device)
    events = distil(recipe, folder, chosen, tensorboard)
    if not is_first():
        for _ in events:
            pass
        return chosen
    description = open_corpus(recipe.data).describe()
    click.echo(f"Recipe {recipe.name} on {chosen}. Data: {description}", err=True)
    for finding in lint_student(recipe):
        click.echo(f"Lint, {finding.severity}: {finding.layer}: {finding.message}", err=True)
    try:
        show_progress(events)
    except KeyboardInterrupt:
        click.echo("The same command, given again, goes on from the last saved step.", err=True)
        raise
    return chosen


def default_threads() -> int:
    """OMP_NUM_THREADS where it is set, else the processors this process may use."""
    import os

    requested = os.environ.get("OMP_NUM_THREADS", "")
    return (
        int(requested) if requested.isdigit() and int(requested) else len(os.sched_getaffinity(0))
    )


def choose_device(device: str) -> str:
    """'cuda' where asked or available; raises InputError when it is asked for and missing."""
    import torch

    from targets.errors import InputError

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("No CUDA device is available.", hint="Use --device cpu.")
    return device


def show_progress(events: Iterator[StageProgress]) -> None:
    """Draw one bar per stage: loss, SI-SDR and time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  SI-SDR {task.fields[si_sdr]} dB"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}
        for event in events:
            if event.role not in tasks:
                tasks[event.role] = bars.add_task(event.title, loss="–", si_sdr="–", total=1)
            task = tasks[event.role]
            if event.progress is None:
                bars.update(task, completed=1, description=f"{event.title} (done)")
                continue
            now = event.progress
            bars.update(
                task,
                total=now.steps,
                completed=now.step,
                loss=f"{now.loss:.3f}",
                si_sdr=f"{now.si_sdr:.1f}",
            )


def print_table(rows: list[Row]) -> None:
    """The closing table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Held-out mixtures, means")
    for column in ("", "parameters", "SI-SDR dB", "PESQ-WB", "STOI"):
        table.add_column(column, justify="left" if not column else "right")
    for row in rows:
        size = "–" if row.parameters is None else f"{row.parameters:,}"
        scores = row.scores
        table.add_row(
            row.name,
            size,
            number(scores.si_sdr, 2),
            number(scores.pesq_wb, 3),
            number(scores.stoi, 3),
        )
    Console().print(table)


def number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _print_json(folder: Path, rows: list[Row]) -> None:
    import json

    from distill.evaluation import report

    click.echo(json.dumps({"run": str(folder), **report(rows)}, indent=2))
