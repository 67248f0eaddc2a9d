"""The scores of one item, and the one table of metrics that can be asked for."""

from __future__ import annotations

import difflib
import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from targets.errors import InputError


@dataclass(frozen=True)
class Scores:
    """Scores of one item; None where not measured.

    SI-SDR in dB, PESQ-WB (MOS-LQO, 1.04–4.64), STOI and ESTOI (0–1), DNSMOS P.835 of the signal,
    the background and overall (1–5), HASPI (0–1) and HASQI (0–1).
    """

    si_sdr: float | None
    pesq_wb: float | None
    stoi: float | None
    estoi: float | None = None
    dnsmos_sig: float | None = None
    dnsmos_bak: float | None = None
    dnsmos_ovrl: float | None = None
    haspi: float | None = None
    hasqi: float | None = None


@dataclass(frozen=True)
class Column:
    """A field of :class:`Scores` as a person reads it."""

    field: str
    title: str
    digits: int


@dataclass(frozen=True)
class Metric:
    """What is asked for by one name: its columns, and the package that computes it."""

    name: str
    columns: tuple[Column, ...]
    package: str | None = None
    extra: str = "metrics"


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("si-sdr", (Column("si_sdr", "SI-SDR dB", 2),)),
        Metric("pesq", (Column("pesq_wb", "PESQ-WB", 3),), "pesq"),
        Metric("stoi", (Column("stoi", "STOI", 3),), "pystoi"),
        Metric("estoi", (Column("estoi", "ESTOI", 3),), "pystoi"),
        Metric(
            "dnsmos",
            (
                Column("dnsmos_sig", "DNSMOS SIG", 2),
                Column("dnsmos_bak", "DNSMOS BAK", 2),
                Column("dnsmos_ovrl", "DNSMOS OVRL", 2),
            ),
            "speechmos",
        ),
        Metric("haspi", (Column("haspi", "HASPI", 3),), "pyclarity", "hearing-aid"),
        Metric("hasqi", (Column("hasqi", "HASQI", 3),), "pyclarity", "hearing-aid"),
    )
}
BASIC = ("si-sdr", "pesq", "stoi")
NEED_AUDIOGRAM = ("haspi", "hasqi")


def choose_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Names of metrics in the order of the table, each once. Raises InputError for unknown ones."""
    for name in names:
        if name not in METRICS:
            close = difflib.get_close_matches(name.lower(), METRICS, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise InputError(
                f"There is no metric {name!r}.", hint=f"{hint}Known: {', '.join(METRICS)}."
            )
    return tuple(name for name in METRICS if name in names)


def columns_of(names: Sequence[str]) -> list[Column]:
    """The columns of several metrics, in order."""
    return [column for name in names for column in METRICS[name].columns]


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean of each metric over the items that have it; None where none has."""
    return Scores(
        **{field.name: _mean([getattr(s, field.name) for s in scores]) for field in fields(Scores)}
    )


def metric_versions(names: Sequence[str] = BASIC) -> dict[str, str]:
    """Package → installed version, or "not installed", of the packages behind some metrics."""
    versions: dict[str, str] = {}
    for package in (METRICS[name].package for name in names):
        if package is not None:
            versions[package] = _version(package)
    return versions


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
