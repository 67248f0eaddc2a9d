"""The ``verify`` command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.errors import GateFailed, GateUnavailable, InputError

if TYPE_CHECKING:
    from runtime.artefact import Artefact, GateResult

HOUR = 60  # minutes


@click.command(short_help="Check a model, a set of models or a pack again, offline.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    help="The run (or checkpoint) the models came from: the trained network is checked as well.",
)
@click.option(
    "--minutes",
    type=click.IntRange(min=0, max=24 * HOUR),
    default=HOUR,
    show_default=True,
    help="Of each of noise, silence and speech for the gate drift; 0 leaves it out.",
)
@click.option(
    "--witness",
    type=click.Choice(["tensorflow"]),
    help="Also rebuild the network in TensorFlow, convert it there and compare; needs --run.",
)
@click.option("--data", help="Corpus for the witness [the one the checkpoint was trained on].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def verify(
    path: Path,
    run: Path | None,
    minutes: int,
    witness: str | None,
    data: str | None,
    as_json: bool,
) -> None:
    """Check PATH: a model, a folder of models, a run, or a firmware pack (a folder or .zip).

    Of a model: its file, what it does, and an hour of sound. Of several models of one network:
    also whether they agree. Of a run: also the trained network. Of a pack: every file against the
    manifest, and the model against the golden vectors. docs/gates.md describes the gates.

    Exit status 0: all passed, 1: something is wrong, 3: a check could not run here.
    """
    from runtime.pack import is_pack, verify_pack

    if not path.exists():
        raise InputError(f"There is nothing at {path}.", hint="Check the path.")
    if is_pack(path):
        if run is not None or witness is not None:
            raise InputError("A pack is checked by itself.", hint="Leave --run and --witness out.")
        gates = verify_pack(path)
    else:
        gates = _verified_models(path, run, minutes, witness, data)
    _show(gates, path, as_json)
    _conclude(gates, path)


def _verified_models(
    path: Path, run: Path | None, minutes: int, witness: str | None, data: str | None
) -> list[GateResult]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from export.sounds import sounds
    from runtime.verification.verify import artefacts_at, verify_artefacts

    folder, run = _places(path, run)
    if witness is not None and run is None:
        raise InputError(
            "A witness rebuilds the trained network, which is not known.",
            hint="Name the run with --run.",
        )
    artefacts = artefacts_at(folder)
    heard = sounds(artefacts[0].sidecar.contract)
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def report(stage: str, done: float) -> None:
            bar.update(task, description=stage, completed=done)

        gates = verify_artefacts(artefacts, heard, minutes, report)
        if run is not None:
            gates += _of_the_run(run, artefacts, witness, data, report)
    return gates


def _places(path: Path, run: Path | None) -> tuple[Path, Path | None]:
    """Where the models lie, and the run: a run's folder stands for both."""
    run_like = path / "artefacts"
    if run is None and run_like.is_dir() and (path / "student").is_dir():
        return run_like, path
    return path, run


def _of_the_run(
    run: Path,
    artefacts: list[Artefact],
    witness: str | None,
    data: str | None,
    report: Callable[[str, float], None],
) -> list[GateResult]:
    from distill.checkpoint import load_checkpoint
    from export.verify_run import verify_against

    report("the trained network", 0.99)
    checkpoint = load_checkpoint(run)
    gates = verify_against(checkpoint, artefacts)
    if witness is not None:
        from export.verify_run import witnessed

        report("the witness", 0.99)
        gates += witnessed(checkpoint, data)
    return gates


def _show(gates: list[GateResult], path: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([gate.model_dump() for gate in gates], indent=2))
        return
    from rich.console import Console

    from runtime.tables import gate_table

    Console().print(gate_table(gates, title=path.name))


def _conclude(gates: list[GateResult], path: Path) -> None:
    failed = [gate.name for gate in gates if gate.verdict == "fail"]
    if failed:
        raise GateFailed(
            f"{path} did not pass: {', '.join(failed)}.",
            hint="Do not ship it: export or pack it again, or fetch it anew.",
        )
    blocked = [gate.name for gate in gates if gate.verdict == "unavailable"]
    if blocked or not gates:
        raise GateUnavailable(
            f"Not all of {path} could be checked: {', '.join(blocked) or 'no gate ran'}.",
            hint="`sordino doctor` says what is missing here.",
        )
