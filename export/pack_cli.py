"""The ``pack`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from export.pack import PackSummary
    from targets.fit import FitLine


@click.command()
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to make, or a file ending in .zip. An older pack there is replaced.",
)
@click.option(
    "--target", "names", multiple=True, help="Judge the fit for this target only; repeatable."
)
@click.option(
    "--figures",
    "figures_file",
    type=click.Path(path_type=Path),
    help="JSON of `sordino profile`, to be included.",
)
@click.option("--data", help="Corpus of the golden vectors (default: the embedded demo corpus).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def pack(
    artefact: Path,
    output: Path,
    names: tuple[str, ...],
    figures_file: Path | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Make the folder or zip that a firmware team builds from.

    ARTEFACT is a .tflite or .onnx file with its sidecar, or the name of a shipped model. `sordino
    verify` checks the result.
    """
    from export.pack import read_figures_file, write_pack
    from runtime.artefact import load_artefact
    from runtime.models import model_file
    from targets.catalog import load_target

    targets = [load_target(name) for name in names]
    figures = read_figures_file(figures_file) if figures_file else ()
    summary = write_pack(
        load_artefact(model_file(artefact)), output, targets=targets, figures=figures, data=data
    )
    if as_json:
        click.echo(json.dumps(_record(output, summary), indent=2))
        return
    from rich.console import Console

    Console().print(_table(output, summary))


def _record(output: Path, summary: PackSummary) -> dict[str, object]:
    fits = [
        {**report.model_dump(mode="json"), "verdict": report.verdict} for report in summary.fits
    ]
    return {
        "path": str(output),
        "manifest": summary.manifest.model_dump(mode="json", by_alias=True),
        "arena_bytes": summary.arena_bytes,
        "fits": fits,
    }


def _table(output: Path, summary: PackSummary) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from runtime.pack_format import FIRMWARE_FORMATS

    manifest = summary.manifest
    unmeasured = summary.arena_bytes is None and manifest.target in FIRMWARE_FORMATS
    table = Table(
        "target",
        "fit",
        "why",
        title=escape(f"{output}: {len(manifest.files) + 1} files"),
        caption="The TFLM arena is unknown: tflite_micro did not run here." if unmeasured else "",
    )
    for report in summary.fits:
        open_lines = [line for line in report.lines if line.verdict in ("does not fit", "unknown")]
        why = "\n".join(_reason(line) for line in open_lines)
        table.add_row(report.target, report.verdict, escape(why))
    return table


def _reason(line: FitLine) -> str:
    least = "at least " if line.basis == "modelled" else ""
    amount = f"{line.excess:,.0f}" if line.excess >= 100 else f"{line.excess:.3g}"
    excess = f" by {least}{amount} {line.unit}" if line.excess else ""
    if line.verdict == "unknown":
        return f"{line.budget}: unknown: {', '.join(line.missing)}"
    return f"{line.budget}: {line.verdict}{excess} ({line.note})"
