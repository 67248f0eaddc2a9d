"""The ``verify`` command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.errors import GateFailed, GateUnavailable, InputError

if TYPE_CHECKING:
    from runtime.artefact import Artefact
    from runtime.verification.results import Section

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
    """Check PATH: a model, a folder of models, a run, or a firmware pack (a folder or .zip). The
    name of a shipped model will do as well.

    Of a model: its file, what it does, and an hour of sound. Of several models of one network:
    also whether they agree. Of a run: also the trained network. Of a pack: every file against the
    manifest, and the model against the golden vectors. docs/gates.md describes the gates.

    Exit status 0: all passed, 1: something is wrong, 3: a check could not run here.
    """
    from runtime.models import model_file

    if not path.exists():
        path = model_file(path)
    if not path.exists():
        raise InputError(f"There is nothing at {path}.", hint="Check the path.")
    if _is_pack(path):
        if run is not None or witness is not None:
            raise InputError("A pack is checked by itself.", hint="Leave --run and --witness out.")
        sections = _verified_pack(path)
    else:
        sections = _verified_models(path, run, minutes, witness, data)
    _show(sections, path, as_json)
    _conclude(sections, path)


def _is_pack(path: Path) -> bool:
    """A zip can be nothing else, so that what is wrong with it is said of a pack."""
    from runtime.pack import is_pack

    return path.suffix.lower() == ".zip" or is_pack(path)


def _verified_pack(path: Path) -> list[Section]:
    from runtime.pack import verify_pack
    from runtime.verification.results import Section

    return [Section(path.name, tuple(verify_pack(path)))]


def _verified_models(
    path: Path, run: Path | None, minutes: int, witness: str | None, data: str | None
) -> list[Section]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from export.sounds import sounds
    from runtime.verification.subjects import artefacts_at
    from runtime.verification.verify import verify_artefacts

    folder, run = _places(path, run)
    if witness is not None and run is None:
        raise InputError(
            "A witness rebuilds the trained network, which is not known.",
            hint="Name the run with --run.",
        )
    found = artefacts_at(folder)
    if not found.artefacts:
        return list(found.refused)
    heard = sounds(found.artefacts[0].sidecar.contract)
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def report(stage: str, done: float) -> None:
            bar.update(task, description=stage, completed=done)

        sections = verify_artefacts(found.artefacts, heard, minutes, report)
        if run is not None:
            sections += _of_the_run(run, found.artefacts, witness, data, report)
    return [*found.refused, *sections]


def _places(path: Path, run: Path | None) -> tuple[Path, Path | None]:
    """Where the models lie, and the run: a run's folder stands for both."""
    run_like = path / "artefacts"
    if run is None and run_like.is_dir() and (path / "student").is_dir():
        return run_like, path
    return path, run


def _of_the_run(
    run: Path,
    artefacts: Sequence[Artefact],
    witness: str | None,
    data: str | None,
    report: Callable[[str, float], None],
) -> list[Section]:
    from distill.checkpoint import load_checkpoint
    from export.verify_run import verify_against, witnessed
    from runtime.verification.results import Section

    report("the trained network", 0.99)
    checkpoint = load_checkpoint(run)
    sections = [Section(f"the network of {run}", tuple(verify_against(checkpoint, artefacts)))]
    if witness is not None:
        report("the witness", 0.99)
        sections.append(Section(f"the witness {witness}", tuple(witnessed(checkpoint, data))))
    return sections


def _show(sections: list[Section], path: Path, as_json: bool) -> None:
    if as_json:
        gates = [
            {"subject": part.subject, **gate.model_dump()}
            for part in sections
            for gate in part.gates
        ]
        click.echo(json.dumps(gates, indent=2))
        return
    from rich.console import Console

    from runtime.tables import verdict_table

    Console().print(verdict_table(sections, title=path.name or str(path)))


def _conclude(sections: list[Section], path: Path) -> None:
    failed = _named(sections, "fail")
    if failed:
        raise GateFailed(
            f"{path} did not pass: {', '.join(failed)}.",
            hint="Do not ship it: export or pack it again, or fetch it anew.",
        )
    blocked = _named(sections, "unavailable")
    if blocked or not any(part.gates for part in sections):
        raise GateUnavailable(
            f"Not all of {path} could be checked: {', '.join(blocked) or 'no gate ran'}.",
            hint="`sordino doctor` says what is missing here.",
        )


def _named(sections: list[Section], verdict: str) -> list[str]:
    """Gates with a verdict, and of which subject where there are several."""
    several = len(sections) > 1
    return [
        f"{gate.name} of {part.subject}" if several else gate.name
        for part in sections
        for gate in part.gates
        if gate.verdict == verdict
    ]
