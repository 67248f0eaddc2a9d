"""The ``data`` commands: describing recordings for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from distill.manifest import Manifest

SHOWN_SKIPPED = 10


@click.group()
def data() -> None:
    """Describe recordings for training."""


@data.command()
@click.argument("speech", metavar="SPEECH_DIR", type=click.Path(path_type=Path))
@click.argument("noise", metavar="NOISE_DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("manifest.json"),
    show_default=True,
    help="The manifest to write.",
)
@click.option(
    "--licence",
    default="unknown",
    show_default=True,
    help="Licence of the recordings; it travels with every model made from them.",
)
@click.option("--noise-licence", help="Licence of the noise, where it differs.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def scan(
    speech: Path,
    noise: Path,
    output: Path,
    licence: str,
    noise_licence: str | None,
    as_json: bool,
) -> None:
    """List the recordings under two folders in a manifest to train from.

    wav, flac, ogg and mp3 at any rate and number of channels. A folder directly under SPEECH_DIR
    is a speaker; files that lie in SPEECH_DIR itself count as a speaker each. Folders directly
    under NOISE_DIR are types of noise. Speakers and noise recordings stay within one split.
    """
    from rich.console import Console
    from rich.progress import Progress

    from distill.manifest import scan as scan_folders

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=as_json) as bar:
        task = bar.add_task("Reading recordings", total=None)
        manifest = scan_folders(
            speech,
            noise,
            output,
            licence=licence,
            noise_licence=noise_licence,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        _print_json(output, manifest)
    else:
        _print_table(output, manifest)


def _print_json(output: Path, manifest: Manifest) -> None:
    import json

    summary = {
        "manifest": str(output),
        "splits": _summary(manifest),
        "skipped": [skipped.model_dump() for skipped in manifest.skipped],
    }
    click.echo(json.dumps(summary, indent=1))


def _print_table(output: Path, manifest: Manifest) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("kind", "split", title=escape(str(output)))
    for column in ("groups", "files", "minutes"):
        table.add_column(column, justify="right")
    for kind, splits in _summary(manifest).items():
        for split, counts in splits.items():
            minutes = f"{counts['seconds'] / 60.0:.1f}"
            table.add_row(kind, split, str(counts["groups"]), str(counts["files"]), minutes)
    console = Console()
    console.print(table)
    warnings = Console(stderr=True)
    if manifest.skipped:
        warnings.print(f"[yellow]Skipped {len(manifest.skipped)} files:[/yellow]")
        for skipped in manifest.skipped[:SHOWN_SKIPPED]:
            warnings.print(f"  {escape(skipped.reason)}")
        if len(manifest.skipped) > SHOWN_SKIPPED:
            warnings.print(f"  and {len(manifest.skipped) - SHOWN_SKIPPED} more, see {output}")
    for kind, splits in _summary(manifest).items():
        empty = [split for split, counts in splits.items() if not counts["files"]]
        if empty:
            what = "speakers" if kind == "speech" else "recordings"
            warnings.print(
                f"[yellow]Too few {kind} {what} for a {' or '.join(empty)} split.[/yellow]"
            )


def _summary(manifest: Manifest) -> dict[str, dict[str, dict[str, float]]]:
    """Kind → split → groups, files and seconds."""
    from distill.corpus import SPLITS

    result: dict[str, dict[str, dict[str, float]]] = {}
    for kind in ("speech", "noise"):
        result[kind] = {}
        for split in SPLITS:
            chosen = [r for r in manifest.recordings if r.kind == kind and r.split == split]
            result[kind][split] = {
                "groups": len({r.group for r in chosen}),
                "files": len(chosen),
                "seconds": round(sum(r.seconds for r in chosen), 3),
            }
    return result
