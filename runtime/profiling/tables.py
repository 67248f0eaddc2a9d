"""A profile as tables for the terminal, 80 characters wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table

from runtime.figures import Figure, Provenance
from runtime.profiling.compare import Comparison, Files, Line
from runtime.profiling.operators import shares
from runtime.profiling.records import OperatorRow, ProfileReport, Reading, Subject, Unavailable
from runtime.tables import (
    SHARE_PREFIX,
    STEP_PREFIX,
    fit_table,
    format_number,
    format_value,
)

SMALL_SHARE = 0.01  # operators below are summed up in one row
DASH = "–"
EFFECT_COLOURS = {"pass": "green", "fail": "bold red", "warn": "yellow", "none": "dim"}


def report_tables(report: ProfileReport, operators: bool) -> list[Table]:
    """For every artefact its figures, with ``operators`` those too, and the fit; then ratios, what
    could not be measured, and what the report was made with."""
    tables, notes = [], _Notes()
    for subject in report.subjects:
        tables.append(_figure_table(subject, notes))
        if operators:
            tables += [
                _operator_table(subject, part) for part in subject.readings if part.operators
            ]
        if subject.fit is not None:
            tables.append(fit_table(subject.fit))
    if report.ratios:
        tables.append(_ratio_table(report))
    if report.unavailable:
        tables.append(_unavailable_table(report.unavailable))
    return [*tables, _origin_table(report)]


class _Notes:
    """Tools, conditions and reasons, numbered in the order in which they come up."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._said = 0

    def number(self, *parts: str) -> str:
        text = "; ".join(filter(None, parts))
        return str(self._numbers.setdefault(text, len(self._numbers) + 1)) if text else ""

    def lines(self) -> list[str]:
        """The notes that came up since they were last asked for: none is said twice."""
        fresh = [f"{number}: {text}" for text, number in self._numbers.items()][self._said :]
        self._said = len(self._numbers)
        return fresh


def _figure_table(subject: Subject, notes: _Notes) -> Table:
    """Figures with provenance, a part for each place; tools and conditions as notes below, as far
    as no table above has them."""
    table = Table(title=escape(f"{subject.artefact} ({subject.format})"))
    table.add_column("figure", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("least – greatest", justify="right", overflow="fold")
    table.add_column("class", no_wrap=True)
    table.add_column("note", justify="right", no_wrap=True)
    _add_figures(table, Reading(backend="", place="", figures=subject.figures), notes)
    for part in subject.readings:
        if not (part.figures or part.unavailable or part.matches is not None):
            continue
        table.add_section()
        table.add_row(f"[bold]{escape(_place(part))}[/]")
        _add_figures(table, part, notes)
        _add_agreement(table, part, notes)
        for lacking in part.unavailable:
            note = notes.number(lacking.reason)
            table.add_row(
                escape(_short(lacking.name, part)), DASH, "", "[yellow]unavailable[/]", note
            )
    counts = ", ".join(f"{count} {kind}" for kind, count in subject.operators.items())
    lines = [f"operators: {counts}"] if counts else []
    table.caption = escape("\n".join((*notes.lines(), *lines, f"SHA-256 {subject.sha256}")))
    table.caption_justify = "left"
    return table


def _place(part: Reading) -> str:
    return part.backend if part.place in ("", part.backend) else f"{part.backend}, {part.place}"


def _short(name: str, part: Reading) -> str:
    """The name of a figure without its place, which stands above."""
    return name.removesuffix(f" [{part.place}]").removesuffix(f" [{part.backend} {part.place}]")


def _add_figures(table: Table, part: Reading, notes: _Notes) -> None:
    """One row each; what share of a hop a step takes stands beside the step."""
    figures = part.figures
    names = {figure.name for figure in figures}
    parts = {
        step: figure
        for figure in figures
        if figure.name.startswith(SHARE_PREFIX)
        and (step := figure.name.replace(SHARE_PREFIX, STEP_PREFIX)) in names
    }
    for figure in figures:
        if figure in parts.values():
            continue
        value, span = _value(figure), _span(figure)
        if share := parts.get(figure.name):
            value += f"\n({format_value(share)} of hop)"
        tool = "" if figure.tool in figure.conditions else figure.tool
        note = notes.number(tool, figure.conditions)
        name = _short(figure.name, part)
        table.add_row(escape(name), escape(value), span, figure.provenance.value, note)


def _add_agreement(table: Table, part: Reading, notes: _Notes) -> None:
    if part.matches is None:
        return
    note = notes.number(part.difference)
    source = part.figures[0].provenance.value if part.figures else ""
    said = "equal" if part.matches else "[bold red]differ[/]"
    table.add_row("golden masks", said, "", source, note)


def _value(figure: Figure) -> str:
    """Of a modelled range, the range: its middle is no prediction."""
    if figure.provenance is Provenance.MODELLED and _has_range(figure):
        return f"{_range(figure.low, figure.high)} {figure.unit}".rstrip()
    return format_value(figure)


def _span(figure: Figure) -> str:
    if figure.provenance is Provenance.MODELLED or not _has_range(figure):
        return ""
    return _range(figure.low, figure.high)


def _has_range(figure: Figure) -> bool:
    return figure.low is not None and figure.high is not None


def _range(low: float | None, high: float | None) -> str:
    return " – ".join(format_number(value) for value in (low, high) if value is not None)


def _operator_table(subject: Subject, part: Reading) -> Table:
    """Operators by share, the greatest first, the small ones in one row."""
    common = _common_note(part.operators)
    rows = [row.model_copy(update={"note": ""}) if common else row for row in part.operators]
    fractions = shares(rows)
    unit = next((row.unit for row in rows if row.unit), "")
    measured = any(row.value is not None for row in rows)
    table = Table(title=escape(f"Operators of {subject.artefact}: {_place(part)}"))
    table.add_column("operator", overflow="fold")
    for name in ("shape", "MACs", "bytes", *((unit, "per MAC") if measured else ()), "share"):
        table.add_column(escape(name), justify="right", no_wrap=name != "shape")
    ranked = sorted(zip(rows, fractions, strict=True), key=lambda pair: -(pair[1] or 0.0))
    large = [pair for pair in ranked if pair[1] is None or pair[1] >= SMALL_SHARE]
    small = [pair for pair in ranked if not (pair[1] is None or pair[1] >= SMALL_SHARE)]
    for row, fraction in large:
        table.add_row(*_operator_cells(row, fraction, measured))
    if small:
        rest = _sum_of([row for row, _ in small])
        fraction = sum(fraction or 0.0 for _, fraction in small)
        table.add_row(*_operator_cells(rest, fraction, measured))
    classes = sorted({row.provenance.value for row in rows if row.value is not None})
    of = f"{unit}, {', '.join(classes)}" if measured else "MACs"
    lines = [f"share of {of}; shapes, MACs and bytes are exact", *([common] if common else [])]
    table.caption = escape("\n".join(lines))
    table.caption_justify = "left"
    return table


def _common_note(rows: Sequence[OperatorRow]) -> str:
    """What every row says, and so none needs to."""
    notes = {row.note for row in rows}
    return notes.pop() if len(notes) == 1 else ""


def _operator_cells(row: OperatorRow, fraction: float | None, measured: bool) -> list[str]:
    name = row.kind + (f" on {row.place}" if row.place else "")
    cells = [
        escape("\n".join(filter(None, (name, row.output, row.note)))),
        "×".join(map(str, row.shape)),
        f"{row.macs:,}" if row.macs else "",
        "" if row.bytes_moved is None else f"{row.bytes_moved:,}",
    ]
    if measured:
        cells.append(DASH if row.value is None else format_number(row.value))
        per_mac = row.value / row.macs if row.value is not None and row.macs else None
        cells.append("" if per_mac is None else f"{per_mac:.3g}")
    return [*cells, "" if fraction is None else f"{fraction:.1%}"]


def _sum_of(rows: Sequence[OperatorRow]) -> OperatorRow:
    values = [row.value for row in rows if row.value is not None]
    moved = [row.bytes_moved for row in rows if row.bytes_moved is not None]
    return OperatorRow(
        step=-1,
        kind=f"{len(rows)} others",
        output="",
        macs=sum(row.macs for row in rows),
        bytes_moved=sum(moved) if moved else None,
        value=sum(values) if values else None,
    )


def _ratio_table(report: ProfileReport) -> Table:
    table = Table(title="Step times against each other")
    table.add_column("slower", overflow="fold")
    table.add_column("faster", overflow="fold")
    table.add_column("ratio", justify="right")
    table.add_column("95 % confidence", justify="right")
    table.add_column("class", no_wrap=True)
    for ratio in report.ratios:
        bounds = f"{ratio.low:.3f} – {ratio.high:.3f}"
        cells = (escape(ratio.slower), escape(ratio.faster), f"{ratio.ratio:.3f}", bounds)
        table.add_row(*cells, ratio.provenance.value)
    table.caption = "medians, measured in turns in one run"
    table.caption_justify = "left"
    return table


def _unavailable_table(lacking: Iterable[Unavailable]) -> Table:
    table = Table(title="Not measured")
    table.add_column("what")
    table.add_column("why", overflow="fold")
    for part in lacking:
        table.add_row(escape(part.name), escape(part.reason))
    return table


def _origin_table(report: ProfileReport) -> Table:
    """What the report was made on and with."""
    machine = report.machine
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    cores = f"{machine.logical_cores} logical core{'s' if machine.logical_cores != 1 else ''}"
    tools = ", ".join(f"{name} {version}" for name, version in report.tools.items())
    rows = (
        ("made on", f"{machine.processor}, {cores}, {machine.system}, {report.created}"),
        ("with", f"Python {machine.python}, {tools}" if tools else f"Python {machine.python}"),
    )
    for name, text in rows:
        table.add_row(name, escape(text))
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Figures that a rule judges, then and now, a part for each artefact; reasons as notes below,
    and whether the files are the same."""
    notes = _Notes()
    table = Table(title=escape(f"Compared with the profile of {comparison.base_created}"))
    table.add_column("figure", overflow="fold")
    for name in ("then", "now", "change", "limit"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    shown = [line for line in comparison.lines if line.effect != "none"]
    for place in dict.fromkeys((line.artefact, line.format) for line in shown):
        table.add_section()
        table.add_row(f"[bold]{escape('any artefact' if place[0] == '*' else place[0])}[/]")
        for line in shown:
            if (line.artefact, line.format) == place:
                table.add_row(*_comparison_cells(line, notes))
    left_out = len(comparison.lines) - len(shown)
    lines = [*notes.lines(), f"policy: {comparison.policy}"]
    lines += [f"{left_out} more figures are new or under no rule"] if left_out else []
    lines += [_file_line(each) for each in comparison.files]
    lines.append(f"the base was made by: {comparison.base_command}")
    table.caption = escape("\n".join(lines))
    table.caption_justify = "left"
    return table


def _comparison_cells(line: Line, notes: _Notes) -> list[str]:
    amounts = [DASH if value is None else format_number(value) for value in (line.base, line.new)]
    changed = line.change_percent is not None and line.base != line.new
    change = f"{line.change_percent:+.2f} %" if changed else ""
    note = f" ({notes.number(line.reason)})" if line.reason else ""
    name = f"{line.metric}, {line.unit}" if line.unit else line.metric
    verdict = f"[{EFFECT_COLOURS[line.effect]}]{line.verdict}[/]{note}"
    return [escape(name), *amounts, change, escape(line.limit), verdict]


def _file_line(files: Files) -> str:
    if files.base_sha256 is None:
        said = "not in the base"
    elif files.new_sha256 is None:
        said = "in the base alone"
    else:
        said = "the same file" if files.same else "another file"
        said += f" (SHA-256 {files.base_sha256[:12]}"
        said += ")" if files.same else f" then, {files.new_sha256[:12]} now)"
    return f"{files.artefact}: {said}"
