"""Tables of figures, gates and findings for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from runtime.artefact import GateResult
from runtime.doctor import Finding
from runtime.figures import Figure

if TYPE_CHECKING:
    from runtime.verification.results import Section
    from targets.fit import FitLine, FitReport

SHARE_PREFIX, STEP_PREFIX = "step of hop, ", "step, "  # shown in one row
MANY_BYTES = 1e8  # beyond, no column of 80 holds every digit, and none means anything
COLOURS = {
    "pass": "green",
    "fail": "bold red",
    "unavailable": "yellow",
    "fits": "green",
    "does not fit": "bold red",
    "unknown": "yellow",
    "no limit": "dim",
}


def format_value(figure: Figure) -> str:
    """The value as :func:`format_number` writes it, and its unit."""
    return f"{format_number(figure.value)} {figure.unit}".rstrip()


def format_number(value: float) -> str:
    """Whole numbers with thousands separators, others with the decimals that mean something."""
    if value == int(value) and abs(value) >= 10.0:
        return f"{int(value):,}"
    if abs(value) >= 1000.0:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10.0 else f"{value:.3g}"


def fit_table(fit: FitReport) -> Table:
    """Every budget line of one target with its verdict; below, what each counts and what would
    help."""
    title = f"Fit to {fit.target} ({fit.origin} profile): {coloured(fit.verdict)}"
    table = Table(title=title, caption_justify="left")
    table.add_column("budget", no_wrap=True)
    table.add_column("needs", justify="right", overflow="fold")
    table.add_column("offers", justify="right", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("class", no_wrap=True)
    for line in fit.lines:
        table.add_row(
            escape(line.budget),
            ("≥ " if _from_below(line) else "") + _amount(line.needs, line.unit),
            _amount(line.offers, line.unit),
            coloured(line.verdict),
            "–" if line.basis == "none" else line.basis,
        )
    notes = [f"{line.budget}: {line.note}" for line in fit.lines if line.note]
    if fit.remedies:
        first, *others = (f"{remedy.text} ({remedy.verdict})" for remedy in fit.remedies)
        notes += [f"Cheapest change: {first}", *(f"Or: {other}" for other in others)]
    table.caption = escape("\n".join(notes))
    return table


def _from_below(line: FitLine) -> bool:
    """Whether no more than a lower bound of the need is known."""
    return line.needs is not None and line.low is not None and line.high is None


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "bytes" and value >= MANY_BYTES:
        return f"{value / 1e6:,.0f} MB"
    return f"{value:,.0f} {unit}" if value >= 100.0 else f"{value:,.3g} {unit}"


def gate_table(gates: Iterable[GateResult], title: str) -> Table:
    """Gate, measured, limit and verdict, and where any gate has them the detail and, of one that
    failed, the likely bug."""
    listed = [gate.model_copy(update={"detail": _explained(gate)}) for gate in gates]
    columns = ["gate", "measured", "limit", "verdict"]
    width = 20  # of the longest name in one word
    if detailed := any(gate.detail for gate in listed):
        columns.append("detail")
        width = 14  # else 80 characters would not hold five columns
    table = Table(title=escape(title))
    for column in columns:
        table.add_column(
            column,
            overflow="fold",
            no_wrap=column == "verdict",
            min_width=width if column == "gate" else None,
        )
    for gate in listed:
        cells = [escape(gate.name), escape(gate.measured), escape(gate.limit)]
        cells.append(coloured(gate.verdict))
        table.add_row(*cells, *([escape(gate.detail)] if detailed else []))
    return table


def _explained(gate: GateResult) -> str:
    likely = f"likely: {gate.likely}" if gate.verdict == "fail" and gate.likely else ""
    return "; ".join(filter(None, (gate.detail, likely)))


def verdict_table(sections: Iterable[Section], title: str) -> Table:
    """Gate, measured, limit and verdict, one part per subject. What explains a verdict stands
    below the measure of a gate that did not pass; passed gates keep their details for JSON."""
    table = Table(title=escape(title))
    table.add_column("gate", overflow="fold", width=20)  # of the longest name in one word
    table.add_column("measured", overflow="fold")
    table.add_column("limit", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    parts = list(sections)
    for part in parts:
        table.add_section()
        if len(parts) > 1:
            table.add_row(f"[bold]{escape(part.subject)}[/]")
        for gate in part.gates:
            explained = "" if gate.verdict == "pass" else _explained(gate)
            measured = "\n".join(filter(None, (gate.measured, explained)))
            table.add_row(
                escape(gate.name), escape(measured), escape(gate.limit), coloured(gate.verdict)
            )
    return table


def doctor_table(findings: Sequence[Finding]) -> Table:
    """What is there with its version, what is not with the way to get it."""
    table = Table(title="This machine")
    table.add_column("name", no_wrap=True)
    table.add_column("found", overflow="fold", max_width=20)
    table.add_column("what for, and how to get it", overflow="fold")
    group = ""
    for finding in findings:
        if finding.group != group:
            table.add_section()
            group = finding.group
        found = f"[green]{escape(finding.version)}[/]" if finding.present else "[yellow]missing[/]"
        get = "" if finding.present else f"\n→ {escape(finding.get)}"
        table.add_row(finding.name, found, escape(finding.purpose) + get)
    return table


def coloured(verdict: str) -> str:
    return f"[{COLOURS[verdict]}]{verdict}[/]"
