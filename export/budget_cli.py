"""The ``budget`` command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from targets.errors import GateFailed, GateUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from export.budget import NetworkBudget
    from export.cheaper import Change
    from export.subjects import Subject
    from export.training_time import TrainingTime
    from targets.fit import FitLine
    from targets.schema import Target


@click.command(short_help="State what a recipe costs on a device, before training.")
@click.argument("source", metavar="RECIPE|CHECKPOINT|MODULE:FUNCTION")
@click.option(
    "--target",
    "names",
    multiple=True,
    metavar="NAME",
    help="Judge the fit to this device or format (`sordino targets` lists them; a .toml file of "
    "your own will do); repeatable. Without it all devices are shown and none decides.",
)
@click.option(
    "--input",
    "shape",
    metavar="SHAPE",
    help="Input of a module, T standing for the frames, such as 1,3,T,256 (features, the default), "
    "or 1,256T (256 samples a frame).",
)
@click.option(
    "--time",
    "timed",
    is_flag=True,
    help="Also train a recipe for some steps and say how long all take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def budget(
    source: str, names: tuple[str, ...], shape: str | None, timed: bool, as_json: bool
) -> None:
    """State what a network costs, before it is trained.

    Parameters, work, states, weights, memory, delay, and the time of a step on each device, for
    the student and the teacher of a recipe, for a checkpoint, or for any torch module; and which
    layers will not stream or will not quantize. A recipe is judged by its student.

    Exit status 0: it fits, 1: it does not, 3: it cannot be told.
    """
    from export.budget import budget as state
    from export.subjects import subjects
    from targets.catalog import list_targets, load_target

    listed = list_targets()
    judged = [load_target(name) for name in names]
    shown = judged or [target for target in listed if target.kind == "device"]
    found = subjects(source, shape)
    budgets = [state(subject, shown) for subject in found]
    changes = _changes(found[0], budgets[0], judged)
    times = _training_times(source) if timed else []
    if as_json:
        _print_json(source, found, budgets, changes, times)
    else:
        _print_tables(found, budgets, changes, judged)
        for time in times:
            click.echo(
                f"Training the {time.role} on this machine: {time.steps:,} steps of "
                f"{time.seconds_per_step:.2f} s (measured-host), {time.seconds / 60:.0f} minutes."
            )
    _conclude(budgets[0], changes, decisive=bool(judged))


def _changes(
    subject: Subject, found: NetworkBudget, judged: Sequence[Target]
) -> dict[str, Change | None]:
    """The cheapest change for every judged target that does not fit."""
    from export.cheaper import cheapest_change

    refused = {line.target for line in found.targets if line.fit.verdict == "does not fit"}
    return {
        target.name: cheapest_change(subject, target) for target in judged if target.name in refused
    }


def _training_times(source: str) -> list[TrainingTime]:
    from distill.recipe import load_recipe
    from export.training_time import time_training

    return time_training(load_recipe(source))


def _print_json(
    source: str,
    found: Sequence[Subject],
    budgets: Sequence[NetworkBudget],
    changes: dict[str, Change | None],
    times: Sequence[TrainingTime],
) -> None:
    record = {
        "source": source,
        "contract": found[0].contract.model_dump(mode="json"),
        "networks": [
            {**budget.model_dump(mode="json"), "verdict": budget.verdict} for budget in budgets
        ],
        "changes": {
            name: change and change.model_dump(mode="json") for name, change in changes.items()
        },
        "training": [{**time.model_dump(), "seconds": time.seconds} for time in times],
    }
    click.echo(json.dumps(record, indent=2))


def _print_tables(
    found: Sequence[Subject],
    budgets: Sequence[NetworkBudget],
    changes: dict[str, Change | None],
    judged: Sequence[Target],
) -> None:
    from rich.console import Console

    from export.budget import contract_line
    from export.budget_tables import figure_table, finding_table, time_table
    from runtime.tables import fit_table

    console = Console()
    console.print(figure_table(budgets, contract_line(found[0].contract)))
    for budget in budgets:
        if budget.findings:
            console.print(finding_table(budget))
        else:
            click.echo(f"Lint of the {budget.role}: nothing found.")
    console.print(time_table(budgets))
    if not judged:
        return
    for target in budgets[0].targets:
        console.print(fit_table(target.fit))
        change = changes.get(target.target)
        if change is not None:
            click.echo(f"Cheapest change for {target.target}: {change.text} ({change.verdict}).")
            if change.preset:
                click.echo(f"Of the presets, {change.preset} would do.")


def _conclude(found: NetworkBudget, changes: dict[str, Change | None], *, decisive: bool) -> None:
    """Raise what the exit status tells."""
    from distill.lint import errors

    layers = [finding.layer or "the network's own code" for finding in errors(list(found.findings))]
    if layers:
        raise GateFailed(
            f"The {found.role} will not stream or quantize as it is: {', '.join(layers)}.",
            hint="The lint says what to change.",
        )
    if not decisive:
        return
    refused = [target for target in found.targets if target.fit.verdict == "does not fit"]
    if refused:
        first = refused[0]
        change = changes[first.target]
        failures = "; ".join(
            f"{target.target} ({_by_how_much(target.fit.lines)})" for target in refused
        )
        raise GateFailed(
            f"The {found.role} does not fit {failures}.",
            hint="No smaller size was found that fits."
            if change is None
            else f"For {first.target}: {change.text}.",
        )
    unknown = [
        f"{target.target}: {line.budget} ({', '.join(line.missing) or line.note})"
        for target in found.targets
        for line in target.fit.lines
        if line.verdict == "unknown"
    ]
    if unknown:
        raise GateUnavailable(
            f"Whether the {found.role} fits cannot be told. {'; '.join(unknown)}.",
            hint="Give the missing figures in a target file of your own, or measure on the device.",
        )


def _by_how_much(lines: Sequence[FitLine]) -> str:
    parts = []
    for line in lines:
        if line.verdict == "does not fit":
            missing = f"{line.excess:,.0f} {line.unit} too much" if line.excess else line.note
            parts.append(f"{line.budget}: {missing}")
    return ", ".join(parts)
