"""The ``export`` command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from distill.checkpoint import Checkpoint
    from runtime.artefact import Artefact, GateResult, Sidecar
    from targets.fit import FitReport

DEFAULT_RUN = Path("runs/demo")


@click.command()
@click.argument("run", type=click.Path(path_type=Path), default=DEFAULT_RUN)
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("tflite-int8",),
    show_default=True,
    help="A format (tflite-int8, -int16x8, -fp32, -fp16, -int8w; onnx-fp32, -int8; c-int8, "
    "-int16x8, -fp32), or a device (`sordino targets`), whose format and budgets are then taken; "
    "repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the artefacts [RUN/artefacts].",
)
@click.option(
    "--data",
    help="Corpus for calibration and held-out mixtures: a manifest, a data folder or 'demo' "
    "[the one the checkpoint was trained on].",
)
@click.option("--json", "as_json", is_flag=True, help="Print artefacts and gates as JSON.")
def export(
    run: Path, targets: tuple[str, ...], output: Path | None, data: str | None, as_json: bool
) -> None:
    """Turn a student into verified model files.

    RUN is the folder of a `sordino distill` run, or of one checkpoint [runs/demo]. Every gate must
    pass, or nothing is written. Several targets share calibration and gates.

    Exit status 0: all passed, and it fits the devices named; 1: a gate failed, or it does not fit;
    3: a gate could not run, or the fit is not known.
    """
    from distill.checkpoint import load_checkpoint
    from export.fitting import fits, refuse_misfits
    from export.formats import wanted
    from export.pipeline import ExportRejected, refuse_as_passed, unavailable_gates

    asked = wanted(targets)  # before anything slow
    checkpoint = load_checkpoint(run)
    try:
        artefacts = _with_progress(checkpoint, targets, output or run / "artefacts", data)
    except ExportRejected as rejection:
        _show(rejection.sidecars, (), as_json)
        raise
    reports = fits(artefacts, asked.devices)
    _show([artefact.sidecar for artefact in artefacts], artefacts, as_json, reports)
    refuse_as_passed("The artefacts are written", unavailable_gates(artefacts))
    refuse_misfits(reports)


def _with_progress(
    checkpoint: Checkpoint, targets: Sequence[str], output: Path, data: str | None
) -> list[Artefact]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from export.pipeline import export_checkpoint

    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        return export_checkpoint(
            checkpoint,
            targets,
            output,
            data,
            lambda stage, done: bar.update(task, description=stage, completed=done),
        )


def _show(
    sidecars: Sequence[Sidecar],
    artefacts: Sequence[Artefact],
    as_json: bool,
    reports: Sequence[FitReport] = (),
) -> None:
    """Gates and scores of every model, the paths of those that were written, and how they fit."""
    paths = {artefact.sidecar.name: str(artefact.path) for artefact in artefacts}
    if as_json:
        records = [
            {
                "name": sidecar.name,
                "path": paths.get(sidecar.name),
                **sidecar.model_dump(mode="json", include={"target", "model", "gates", "scores"}),
            }
            for sidecar in sidecars
        ]
        shown = [report.model_dump(mode="json") for report in reports]
        click.echo(json.dumps({"artefacts": records, "fits": shown}, indent=2))
        return
    from rich.console import Console

    from runtime.tables import fit_table, gate_table

    console = Console()
    console.print(gate_table(_distinct_gates(sidecars), "Gates"))
    for artefact in artefacts:
        console.print(f"Wrote {artefact.path} ({artefact.sidecar.model.bytes:,} bytes)")
    for report in reports:
        console.print(fit_table(report))


def _distinct_gates(sidecars: Sequence[Sidecar]) -> list[GateResult]:
    """Gates shared by all models once; the others named with the model's format.

    What passed needs no detail on a terminal: ``--json`` has it.
    """
    shared = set.intersection(*(set(sidecar.gates) for sidecar in sidecars))
    gates = {gate.name: gate for gate in sidecars[0].gates if gate in shared}
    for sidecar in sidecars:
        for gate in sidecar.gates:
            if gate not in shared:
                name = f"{gate.name} ({sidecar.target})"
                gates[name] = gate.model_copy(update={"name": name})
    return [
        gate.model_copy(update={"detail": ""}) if gate.verdict == "pass" else gate
        for gate in gates.values()
    ]
