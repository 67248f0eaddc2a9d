"""The ``demo`` command: the whole road, with a closing table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from export.demo import Summary

STEP = "step, median"


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Folder of the run; an interrupted one resumes.",
)
@click.option("--recipe", default="demo", show_default=True, help="Recipe file or built-in name.")
@click.option("--data", help="Your own corpus: a manifest of `sordino data scan` or a data folder.")
@click.option(
    "--pairs", type=click.Path(path_type=Path), help="Folder with noisy/ and clean/ to score on."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads [all cores].")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json.")
def demo(
    output: Path,
    recipe: str,
    data: str | None,
    pairs: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """From recordings to a verified int8 model and a firmware pack, in one command.

    Without --data it uses a small embedded corpus of synthetic speech and noise.
    """
    import json
    import time

    from distill.cli import resolve, train_with_progress

    loaded = resolve(recipe, data, pairs, None)
    start = time.monotonic()
    train_with_progress(loaded, output, device, threads)
    trained = round(time.monotonic() - start, 1)

    from export.demo import finish_road, record
    from export.pipeline import refuse_as_passed

    summary = finish_road(loaded, output, trained, lambda part: click.echo(f"… {part}", err=True))
    if as_json:
        click.echo(json.dumps(record(summary), indent=2))
    else:
        _show(summary)
    refuse_as_passed("The road is walked", summary.skipped)


def _show(summary: Summary) -> None:
    from rich.console import Console

    from distill.cli import print_table
    from runtime.tables import format_value

    console = Console()
    print_table(list(summary.rows))
    gates = [gate for artefact in summary.artefacts for gate in artefact.sidecar.gates]
    passed = sum(gate.verdict == "pass" for gate in gates)
    console.print(f"Gates: {passed} of {len(gates)} passed on {len(summary.artefacts)} artefacts.")
    int8 = summary.artefacts[0]
    figures = {figure.name: figure for figure in summary.profile.subjects[0].all_figures()}
    if step := next((figures[name] for name in figures if name.startswith(STEP)), None):
        console.print(
            f"{int8.path.name}: {int8.sidecar.model.bytes:,} bytes, step {format_value(step)} "
            f"({step.provenance.value})"
        )
    fitting = [fit.target for fit in summary.fits if fit.verdict == "fits"]
    console.print(f"Fits: {', '.join(fitting) or 'no target with certainty'}.")
    console.print(f"Pack: {summary.pack}")
    for noisy, denoised in summary.audio:
        console.print(f"Listen: {noisy} → {denoised}")
    minutes = sum(summary.seconds.values()) / 60.0
    console.print(f"Took {minutes:.1f} minutes. Everything is in {summary.folder}")
