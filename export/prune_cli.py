"""The ``prune`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.errors import InputError

if TYPE_CHECKING:
    from distill.checkpoint import Checkpoint
    from export.pruned import Share, Stage


@click.command(short_help="Cut a trained network down to a smaller one.")
@click.argument("checkpoint", metavar="CHECKPOINT|RUN", type=click.Path(path_type=Path))
@click.option("--keep", type=float, help="Share of channels and latents to keep, such as 0.5.")
@click.option(
    "--target-mac-per-second",
    "most",
    type=float,
    help="Instead of --keep: keep as much as this many multiply-accumulates a second allow.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the pruned checkpoint [pruned, beside the checkpoint].",
)
@click.option("--data", help="Corpus to rank on [the one the checkpoint was trained on].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def prune(
    checkpoint: Path,
    keep: float | None,
    most: float | None,
    output: Path | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Cut a trained network down to a smaller one, and say what that costs before fine-tuning.

    The channels and latents go whose absence changes the loss least, estimated over training
    mixtures; sizes stay multiples of four. What is written is an ordinary checkpoint: fine-tune
    it by a recipe with `student: {checkpoint: FOLDER}`.
    """
    from distill.checkpoint import load_checkpoint
    from export.pruned import Share

    if (keep is None) == (most is None):
        raise InputError(
            "Give either --keep or --target-mac-per-second.", hint="Such as --keep 0.5."
        )
    loaded = load_checkpoint(checkpoint)
    folder = output or loaded.path.parent / "pruned"
    stages = _with_progress(loaded, Share(keep, most), folder, data)
    if as_json:
        rows = [stage.model_dump(mode="json") for stage in stages]
        click.echo(json.dumps({"checkpoint": str(folder), "stages": rows}, indent=2))
        return
    _print_table(stages)
    click.echo(f"Wrote {folder}\nNext: a recipe with `student: {{checkpoint: {folder}}}`")


def _with_progress(
    checkpoint: Checkpoint, share: Share, folder: Path, data: str | None
) -> list[Stage]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from export.pruned import prune_checkpoint

    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        return prune_checkpoint(
            checkpoint,
            share,
            folder,
            data,
            lambda stage, done: bar.update(task, description=stage, completed=done),
        )


def _print_table(stages: list[Stage]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Pruning, before any fine-tuning")
    table.add_column("")
    table.add_column("channels", no_wrap=True)
    for column in ("latents", "parameters", "MAC/s", "SI-SDR dB"):
        table.add_column(column, justify="right")
    for stage in stages:
        table.add_row(
            stage.name,
            "-".join(map(str, stage.widths)),
            str(stage.hidden),
            f"{stage.parameters:,}",
            f"{stage.macs_per_second:,.0f}",
            f"{stage.si_sdr:.2f}",
        )
    Console().print(table)
