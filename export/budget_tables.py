"""Tables of a budget for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from export.budget import NetworkBudget, TargetBudget
from runtime.tables import coloured, format_value

SEVERITY_COLOURS = {"error": "bold red", "warning": "yellow", "unknown": "cyan"}


def figure_table(budgets: Sequence[NetworkBudget], contract: str) -> Table:
    """One row a figure, one column a network; sources as numbered notes below."""
    table = Table(title=f"Before training ({escape(contract)})")
    table.add_column("figure", overflow="fold")
    for budget in budgets:
        table.add_column(escape(f"{budget.role}: {budget.name}"), justify="right", overflow="fold")
    table.add_column("provenance", no_wrap=True)
    table.add_column("note", justify="right", no_wrap=True)
    notes: dict[str, int] = {}
    kinds = {
        (figure.name, figure.provenance): figure for budget in budgets for figure in budget.figures
    }
    for (name, provenance), figure in kinds.items():
        values = [_value(budget, name, provenance) for budget in budgets]
        source = "; ".join(filter(None, (figure.tool, figure.conditions)))
        note = notes.setdefault(source, len(notes) + 1)
        table.add_row(escape(name), *values, provenance.value, str(note))
    for budget in budgets:
        for lacking in budget.unavailable:
            source = f"{budget.role}: {lacking.reason}"
            note = notes.setdefault(source, len(notes) + 1)
            cells = ["–" if other is budget else "" for other in budgets]
            table.add_row(escape(lacking.name), *cells, "[yellow]unavailable[/]", str(note))
    table.caption = escape("\n".join(f"{note}: {source}" for source, note in notes.items()))
    table.caption_justify = "left"
    return table


def _value(budget: NetworkBudget, name: str, provenance: str) -> str:
    found = (
        figure
        for figure in budget.figures
        if figure.name == name and figure.provenance == provenance
    )
    return next((format_value(figure) for figure in found), "")


def finding_table(budget: NetworkBudget) -> Table:
    """What will not stream or quantize, by layer."""
    table = Table(title=f"Lint of the {budget.role}")
    for column in ("layer", "rule", "severity", "finding"):
        table.add_column(column, overflow="fold", no_wrap=column == "severity")
    for finding in budget.findings:
        colour = SEVERITY_COLOURS[finding.severity]
        table.add_row(
            escape(finding.layer or "(its own code)"),
            finding.rule,
            f"[{colour}]{finding.severity}[/]",
            escape(f"{finding.message}. {finding.hint}"),
        )
    return table


def time_table(budgets: Sequence[NetworkBudget]) -> Table:
    """Time of one step on every target, as a range, and the verdict."""
    table = Table(title="One step on each target (modelled)")
    table.add_column("target", no_wrap=True)
    table.add_column("network", no_wrap=True)
    table.add_column("time of a step", justify="right", no_wrap=True)
    table.add_column("fit", no_wrap=True)
    table.add_column("why", overflow="fold")
    for budget in budgets:
        for target in budget.targets:
            table.add_row(
                escape(target.target),
                budget.role,
                _range(target),
                coloured(target.fit.verdict),
                escape(_why(target)),
            )
    return table


def _range(target: TargetBudget) -> str:
    if target.step_us is None:
        return "unknown"
    low, high = (value / 1e3 for value in target.step_us)
    return f"{low:.1f}–{high:.1f} ms"


def _why(target: TargetBudget) -> str:
    """The lines that decide, or what is missing."""
    verdict = target.fit.verdict
    lines = [line for line in target.fit.lines if line.verdict == verdict]
    if verdict == "fits":
        return "every budget"
    if verdict == "does not fit":
        return "; ".join(
            f"{line.budget}: "
            + (f"{line.excess:,.0f} {line.unit} too much" if line.excess else line.note)
            for line in lines
        )
    if lines[0].budget == "export":
        return lines[0].note
    return "; ".join(f"{line.budget}: {', '.join(line.missing) or line.note}" for line in lines)
