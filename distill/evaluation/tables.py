"""Tables of scores for the terminal: what the command line prints, one thing after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from distill.evaluation.material import Item
from distill.evaluation.scoring import Row
from distill.evaluation.statistics import (
    Estimate,
    Line,
    Resampling,
    Section,
    by_group,
    differences,
    overall,
)
from distill.leakage import Verdict
from runtime.metrics import METRICS, Audiogram, Column, columns_of, metric_versions

# Widths of columns with their borders: how many of them fit a terminal.
_NAME_WIDTH, _GROUP_WIDTH, _CELL_WIDTH = 30, 18, 18


def tables(
    rows: Sequence[Row],
    items: Sequence[Item],
    by: str,
    verdicts: Sequence[Verdict],
    audiogram: Audiogram | None,
    how: Resampling,
    width: int,
) -> Iterator[Table | Text]:
    """Means, differences to the noisy input and to the first model, groups, and footnotes.

    ``width`` in characters: metrics that do not fit beside each other stand below each other.
    """
    columns = columns_of(rows[0].metrics)
    yield from _means(f"Means over {_counted(len(items))}", overall(rows, how), columns, width)
    yield from _differences(rows, rows[0], columns, width, how)
    if len(rows) > 2:
        yield from _differences(rows[1:], rows[1], columns, width, how)
    if by != "none":
        title = "By signal-to-noise ratio" if by == "snr" else "By type of noise"
        yield from _groups(title, by_group(rows, items, by, how), columns, width)
    for note in _notes(rows, by, verdicts, audiogram, how):
        yield Text(note)


def cell(one: Estimate, digits: int, difference: bool) -> str:
    """A mean and under it its interval; a difference that may be none stands in parentheses."""
    if one.mean is None:
        return "–"
    sign = "+" if difference else ""
    mean = f"{one.mean:{sign}.{digits}f}"
    if difference and one.holds_zero:
        mean = f"({mean})"
    if one.low is None or one.high is None:
        return mean
    return f"{mean}\n{one.low:{sign}.{digits}f} … {one.high:{sign}.{digits}f}"


def _means(title: str, section: Section, columns: Sequence[Column], width: int) -> Iterator[Table]:
    for table, shown in _empty(title, columns, width - _NAME_WIDTH, [""]):
        for line in section.lines:
            table.add_row(_label(line), *_cells(line, shown))
        yield table


def _differences(
    rows: Sequence[Row], reference: Row, columns: Sequence[Column], width: int, how: Resampling
) -> Iterator[Table]:
    section = differences(rows, reference, how)
    title = f"Differences to {reference.name}"
    for table, shown in _empty(title, columns, width - _NAME_WIDTH, [""]):
        for line in section.lines:
            table.add_row(escape(line.name), *_cells(line, shown, difference=True))
        yield table


def _groups(
    title: str, sections: Sequence[Section], columns: Sequence[Column], width: int
) -> Iterator[Table]:
    for table, shown in _empty(title, columns, width - _NAME_WIDTH - _GROUP_WIDTH, ["", ""]):
        for section in sections:
            table.add_section()
            group = f"{escape(section.group)}\n{_counted(section.items)}"
            for line in section.lines:
                table.add_row(group, escape(line.name), *_cells(line, shown))
                group = ""
        yield table


def _empty(
    title: str, columns: Sequence[Column], room: int, names: Sequence[str]
) -> Iterator[tuple[Table, Sequence[Column]]]:
    """A table with its heads, or several below each other where not all columns have room."""
    at_once = max(1, room // _CELL_WIDTH)
    for start in range(0, len(columns), at_once):
        shown = columns[start : start + at_once]
        table = Table(title=None if start else escape(title), title_justify="left")
        for name in names:
            table.add_column(name, overflow="fold")
        for column in shown:
            table.add_column(column.title, justify="right", no_wrap=True)
        yield table, shown


def _cells(line: Line, columns: Sequence[Column], *, difference: bool = False) -> list[str]:
    return [cell(line.estimates[column.field], column.digits, difference) for column in columns]


def _counted(items: int) -> str:
    return f"{items} item" + "s" * (items != 1)


def _label(line: Line) -> str:
    size = "" if line.parameters is None else f"\n{line.parameters:,} parameters"
    return escape(line.name) + size


def _notes(
    rows: Sequence[Row],
    by: str,
    verdicts: Sequence[Verdict],
    audiogram: Audiogram | None,
    how: Resampling,
) -> list[str]:
    metrics = rows[0].metrics
    notes = [
        f"Below each mean its {how.confidence:.0%} interval: percentile bootstrap over items, "
        f"{how.resamples} resamples, seed {how.seed}. In parentheses: not distinguishable from 0."
    ]
    if audiogram is not None:
        notes.append(f"HASPI and HASQI for the audiogram {audiogram.name}, speech at 65 dB SPL.")
    if versions := metric_versions(metrics):
        told = ", ".join(f"{package} {version}" for package, version in versions.items())
        notes.append(f"Metrics from {told}.")
    for name in metrics:
        metric = METRICS[name]
        if metric.package is not None and versions[metric.package] == "not installed":
            notes.append(f"{name} was not measured: pip install 'sordino[{metric.extra}]'.")
    notes += _unmeasured(rows)
    notes += _leakage(verdicts)
    if by == "none":
        notes.append("In groups: --by snr, --by noise. Every item: --json.")
    return notes


def _unmeasured(rows: Sequence[Row]) -> list[str]:
    """Means over fewer items than there are."""
    notes = []
    for row in rows:
        for column in columns_of(row.metrics):
            known = sum(getattr(item, column.field) is not None for item in row.items)
            if 0 < known < len(row.items):
                notes.append(f"{row.name}: {column.title} judges {known} of {len(row.items)}.")
    return notes


def _leakage(verdicts: Sequence[Verdict]) -> list[str]:
    """One line for all models of which the same is to be said."""
    models: dict[tuple[str, str], list[str]] = {}
    for one in verdicts:
        models.setdefault((one.state, one.detail), []).append(one.model)
    words = {"passed": "checked", "unavailable": "NOT CHECKED", "unknown": "cannot be checked"}
    return [
        f"Leakage {words[state]} ({', '.join(names)}): {detail}."
        for (state, detail), names in models.items()
    ]
