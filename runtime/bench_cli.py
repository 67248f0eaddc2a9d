"""The ``bench`` command: firmware that measures a model on a board of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(short_help="Write a firmware that measures a model on your board.")
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to make. A bench that is there already and was not changed is replaced.",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1, max=10_000),
    default=100,
    show_default=True,
    help="Golden frames compiled in, for a build that only sends (BENCH_OUTPUT_ONLY).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
def bench(artefact: Path, output: Path, frames: int, as_json: bool) -> None:
    """Write the bench of the generated C of ARTEFACT: sources for a project of your own.

    You supply two functions that send and receive a byte. Its README says the rest and builds an
    example that runs in QEMU. `sordino profile ARTEFACT --on serial:PORT` then reads cycles, stack
    and masks from the board, and docs/bench.md walks the whole way.
    """
    from runtime.artefact import load_artefact
    from runtime.devices.bench_source import write_bench

    written = write_bench(load_artefact(artefact), output, frames=frames)
    if as_json:
        record = {
            "folder": str(written.folder),
            "model": written.model,
            "files": list(written.files),
            "frames": written.frames,
            "feature_bytes": written.feature_bytes,
            "operators": written.operators,
        }
        click.echo(json.dumps(record, indent=2))
        return
    click.echo(f"{output}: {len(written.files)} files; README.md says how to build them.")
    click.echo(f"model {written.model[:16]}…, {written.operators} operators can be counted")
    click.echo(
        f"bench_features.c: {written.frames} frames, {written.feature_bytes:,} bytes, "
        "with BENCH_OUTPUT_ONLY alone"
    )
