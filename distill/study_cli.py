"""The ``study`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.errors import GateFailed, InputError

if TYPE_CHECKING:
    from distill.study import Study
    from distill.study_findings import Findings
    from distill.study_result import RunResult
    from distill.study_runs import Plan
    from distill.study_workers import Workers


@click.command()
@click.argument("study")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [studies/NAME].")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes on this machine [1].")
@click.option("--dask", "address", help="Scheduler of an existing Dask cluster, instead of --jobs.")
@click.option("--report-only", is_flag=True, help="Train nothing; report what is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def study(
    study: str,
    output: Path | None,
    jobs: int | None,
    address: str | None,
    report_only: bool,
    as_json: bool,
) -> None:
    """Compare methods over scenarios and seeds, and say what can be told apart.

    STUDY is a YAML file or the name of a built-in study. A study that was interrupted goes on
    when the command is given again; after a change of the file only what it affects runs again.
    """
    from distill.study import load_study
    from distill.study_findings import find
    from distill.study_report import write_report
    from distill.study_result import TABLE, save_table
    from distill.study_runs import make_plan, recorded
    from distill.study_workers import ClusterWorkers, LocalWorkers
    from runtime.metrics import columns_of

    if address is not None and jobs is not None:
        raise InputError("--jobs and --dask exclude each other.", hint="The cluster knows its own.")
    loaded = load_study(study)
    folder = output or Path("studies") / loaded.name
    failed: list[RunResult] = []
    if not report_only:
        plan = make_plan(loaded, folder)
        _announce(loaded, plan)
        workers: Workers = LocalWorkers(jobs or 1, loaded.threads)
        if address is not None:
            workers = ClusterWorkers(address, folder.resolve())
        failed = _run(plan, workers)
    results = recorded(loaded, folder)
    findings = find(loaded, results, failed)
    rows = [*results, *failed]
    fields = [column.field for column in columns_of(loaded.metrics)]
    save_table(folder / TABLE, rows, fields, loaded.model_dump(mode="json"))
    write_report(folder, findings, results, study)
    if as_json:
        _print_json(loaded, findings)
    else:
        _print_findings(findings, folder)
    if failed:
        places = ", ".join(f"{r.scenario}/{r.method}/{r.seed}" for r in failed)
        raise GateFailed(
            f"{len(failed)} runs failed: {places}.",
            hint="error.txt in their folders says why; the same command tries them again.",
        )


def _announce(study: Study, plan: Plan) -> None:
    """What there is to do, before it is done."""
    todo = len(plan.first) + len(plan.tasks)
    click.echo(f"Study {study.name}: {todo} runs to do, {len(plan.done)} done before.", err=True)
    if plan.changed:
        click.echo(f"Settings have changed: {plan.changed} of them run again.", err=True)


def _run(plan: Plan, workers: Workers) -> list[RunResult]:
    """Do all tasks with one bar on stderr; returns those that failed."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from distill.study_runs import run_plan

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.description}"),
    )
    failed = []
    # An estimate from few, long tasks: all that have ended count, not those of the last seconds.
    with Progress(
        *columns, console=Console(stderr=True), speed_estimate_period=36_000.0
    ) as progress:
        bar = progress.add_task("", total=len(plan.first) + len(plan.tasks))
        try:
            for result in run_plan(plan, workers):
                title = f"{result.scenario} {result.method} {result.seed}".strip()
                progress.update(bar, advance=1, description=title)
                if result.error:
                    progress.console.print(f"{title}: {result.error}", markup=False)
                    failed.append(result)
        except KeyboardInterrupt:
            progress.console.print("The same command, given again, goes on from here.")
            raise
    return failed


def _print_findings(findings: Findings, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from distill.study_report import report_content

    content = report_content(findings, "")
    table = Table(title=f"{findings.study.name}: mean ± std over seeds")
    for column in ("scenario", "method", "parameters", "MMAC/s"):
        table.add_column(column, justify="left" if column in ("scenario", "method") else "right")
    for metric in content["metrics"]:
        table.add_column(metric["title"], justify="right")
    for row in content["references"]:
        table.add_row(row["name"], "", row["parameters"], row["macs"], *row["scores"])
    for row in content["cells"]:
        cells = (row["scenario"], row["method"], row["parameters"], row["macs"])
        table.add_row(*cells, *row["scores"])
    Console().print(table)
    for sentence in findings.sentences:
        click.echo(sentence)
    click.echo(f"Report: {folder / 'report.md'}, {folder / 'report.html'}")


def _print_json(study: Study, findings: Findings) -> None:
    import json

    from distill.study_report import summary

    click.echo(json.dumps(summary(study, findings), indent=2))
