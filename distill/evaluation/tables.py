"""Tables of scores for the terminal: what the command line prints, one thing after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from distill.evaluation.material import Item
from distill.evaluation.scoring import NOISY, Row
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

_NAME_WIDTH, _CELL_WIDTH = 34, 15  # of a column with its borders: how many fit the terminal


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
    sections = [
        (f"Means over {_counted(len(items))}", overall(rows, how), False),
        (f"Differences to {NOISY}", differences(rows, rows[0], how), True),
    ]
    if len(rows) > 2:
        gains = differences(rows[1:], rows[1], how)
        sections.append((f"Differences to {rows[1].name}", gains, True))
    if by != "none":
        sections += [
            (f"{section.group}, {_counted(section.items)}", section, False)
            for section in by_group(rows, items, by, how)
        ]
    for title, section, difference in sections:
        yield from _tables(title, section, columns, difference, width)
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


def _tables(
    title: str, section: Section, columns: Sequence[Column], difference: bool, width: int
) -> Iterator[Table]:
    at_once = max(1, (width - _NAME_WIDTH) // _CELL_WIDTH)
    for start in range(0, len(columns), at_once):
        shown = columns[start : start + at_once]
        table = Table(title=escape(title) if not start else None, title_justify="left")
        table.add_column("", overflow="fold")
        for column in shown:
            table.add_column(column.title, justify="right", no_wrap=True)
        for line in section.lines:
            table.add_row(
                escape(line.name) if difference else _label(line),
                *(cell(line.estimates[c.field], c.digits, difference) for c in shown),
            )
        yield table


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
