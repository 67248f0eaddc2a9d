"""Scores as JSON: every item, means and intervals, versions of what computed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from distill.evaluation.material import Item
from distill.evaluation.scoring import Row
from distill.evaluation.statistics import (
    Estimate,
    Resampling,
    Section,
    by_group,
    differences,
    overall,
)
from distill.leakage import Verdict
from runtime.metrics import Audiogram, Scores, columns_of, metric_versions


def report(rows: Sequence[Row]) -> dict[str, object]:
    """Rows with every item's scores and the versions of the metrics, for a JSON file."""
    metrics = rows[0].metrics if rows else ()
    return {
        "metrics": metric_versions(metrics),
        "rows": [
            {
                "name": row.name,
                "parameters": row.parameters,
                "mean": _measured(row.scores, row.metrics),
                "items": [_measured(item, row.metrics) for item in row.items],
            }
            for row in rows
        ],
    }


def full_report(
    rows: Sequence[Row],
    items: Sequence[Item],
    how: Resampling,
    verdicts: Sequence[Verdict] = (),
    audiogram: Audiogram | None = None,
) -> dict[str, object]:
    """:func:`report` with what the items are, intervals overall, in groups and of differences."""
    return {
        **report(rows),
        "audiogram": None if audiogram is None else audiogram.model_dump(),
        "bootstrap": {"method": "percentile, over items", **asdict(how)},
        "leakage": [asdict(verdict) for verdict in verdicts],
        "items": [
            {
                "name": item.name,
                "snr_db": _finite(item.mixture.snr_db),
                "snr": item.snr_bucket,
                "noise": item.noise_type,
            }
            for item in items
        ],
        "overall": _section(overall(rows, how)),
        "against_noisy": _section(differences(rows, rows[0], how)),
        "against_first": _section(differences(rows[1:], rows[1], how)) if len(rows) > 1 else None,
        "by_snr": [_section(section) for section in by_group(rows, items, "snr", how)],
        "by_noise": [_section(section) for section in by_group(rows, items, "noise", how)],
    }


def _measured(scores: Scores, metrics: Sequence[str]) -> dict[str, float | None]:
    """The scores that were asked for; null where one could not be measured."""
    return {column.field: getattr(scores, column.field) for column in columns_of(metrics)}


def _section(section: Section) -> Mapping[str, object]:
    return {
        "group": section.group,
        "items": section.items,
        "rows": [
            {
                "name": line.name,
                **{field: _estimate(one) for field, one in line.estimates.items()},
            }
            for line in section.lines
        ],
    }


def _estimate(one: Estimate) -> Mapping[str, object]:
    return {"mean": one.mean, "low": one.low, "high": one.high, "items": one.items}


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None
