"""The ``export`` command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.ranges import FiniteRange

if TYPE_CHECKING:
    from export.opening import Source
    from export.preparation import Prepared, Quantizing
    from export.ranges import Method
    from runtime.artefact import Artefact, GateResult, Sidecar
    from targets.fit import FitReport

DEFAULT_RUN = "runs/demo"


@click.command()
@click.argument("run", metavar="RUN|MODULE:FUNCTION", default=DEFAULT_RUN)
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
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Of a MODULE:FUNCTION: its state_dict as .safetensors.",
)
@click.option(
    "--contract",
    metavar="NAME",
    help="Of a MODULE:FUNCTION: the STFT it was trained with: phone, mcu or hearing-aid [phone].",
)
@click.option(
    "--quality-budget",
    "budget",
    metavar="METRIC=LOSS,…",
    help='Most that int8 may lose, such as "pesq=0.05,si_sdr=0.3": layers become int16 until it '
    "does not lose more, as few as will do.",
)
@click.option(
    "--ranges",
    type=click.Choice(["minmax", "percentile", "mse"]),
    default="minmax",
    show_default=True,
    help="What int8 activations cover of what calibration saw.",
)
@click.option(
    "--percentile",
    type=FiniteRange(50.0, 100.0),
    help="With --ranges percentile: the share kept, in percent.",
)
@click.option("--equalise", is_flag=True, help="Cross-layer equalisation before calibration.")
@click.option("--correct-biases", is_flag=True, help="Undo the mean error of rounded weights.")
@click.option(
    "--fine-tune",
    type=click.IntRange(min=0),
    default=0,
    metavar="STEPS",
    help="Quantization-aware fine-tuning, where plain int8 loses more than the budget "
    "[0.05 PESQ, 0.3 dB].",
)
@click.option("--json", "as_json", is_flag=True, help="Print artefacts and gates as JSON.")
def export(
    run: str,
    targets: tuple[str, ...],
    output: Path | None,
    data: str | None,
    weights: Path | None,
    contract: str | None,
    budget: str | None,
    ranges: Method,
    percentile: float | None,
    equalise: bool,
    correct_biases: bool,
    fine_tune: int,
    as_json: bool,
) -> None:
    """Turn a student into verified model files.

    RUN is the folder of a `sordino distill` run, or of one checkpoint [runs/demo]; or a function
    in a module of your own that returns a student (docs/any-student.md), which needs --data and -o.
    Every gate must pass, or nothing is written. Several targets share calibration and gates.

    Exit status 0: all passed, and it fits the devices named; 1: a gate failed, or it does not fit;
    3: a gate could not run, or the fit is not known.
    """
    from export.fitting import fits, refuse_misfits
    from export.formats import wanted
    from export.opening import open_source
    from export.pipeline import ExportRejected, refuse_as_passed, unavailable_gates
    from export.preparation import Quantizing
    from export.quality_budget import parse_budget
    from export.ranges import DEFAULT_PERCENTILE

    asked = wanted(targets)  # before anything slow
    quantizing = Quantizing(
        ranges=ranges,
        percentile=percentile or DEFAULT_PERCENTILE,
        equalise=equalise,
        correct_biases=correct_biases,
        fine_tune=fine_tune,
        budget=parse_budget(budget) if budget else None,
    )
    source = open_source(run, output, data, weights, contract)
    found: list[Prepared] = []
    try:
        artefacts = _with_progress(source, targets, quantizing, found.append)
    except ExportRejected as rejection:
        _show(rejection.sidecars, (), as_json, found)
        raise
    reports = fits(artefacts, asked.devices)
    _show([artefact.sidecar for artefact in artefacts], artefacts, as_json, found, reports)
    refuse_as_passed("The artefacts are written", unavailable_gates(artefacts))
    refuse_misfits(reports)


def _with_progress(
    source: Source,
    targets: Sequence[str],
    quantizing: Quantizing,
    inform: Callable[[Prepared], None],
) -> list[Artefact]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from export.pipeline import export_student

    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        return export_student(
            source.trained,
            targets,
            source.output,
            source.corpus,
            lambda stage, done: bar.update(task, description=stage, completed=done),
            quantizing,
            inform,
        )


def _show(
    sidecars: Sequence[Sidecar],
    artefacts: Sequence[Artefact],
    as_json: bool,
    found: Sequence[Prepared],
    reports: Sequence[FitReport] = (),
) -> None:
    """Gates and scores of every model, the paths of those that were written, and how they fit."""
    from export.mix_tables import quantizing_json, quantizing_tables

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
        quantizing = [quantizing_json(prepared) for prepared in found]
        record = {"artefacts": records, "quantizing": quantizing, "fits": shown}
        click.echo(json.dumps(record, indent=2))
        return
    from rich.console import Console

    from runtime.tables import fit_table, gate_table

    console = Console()
    for prepared in found:
        console.print(*quantizing_tables(prepared), sep="\n")
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
