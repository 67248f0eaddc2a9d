"""The report of a study: Markdown with drawings beside it, and one HTML file that needs nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from distill.study import Study
from distill.study_findings import Findings, MetricFindings
from distill.study_plots import differences, learning_curves, quality_against_work
from distill.study_result import RunResult
from distill.study_statistics import Comparison, MeanStd
from runtime.artefact import write_atomically


def write_report(
    folder: Path, findings: Findings, results: Sequence[RunResult], source: str
) -> list[Path]:
    """Write ``report.md``, ``report.html`` and the drawings; returns their paths.

    ``source`` is what the command was given as the study.
    """
    drawings = {
        "differences.svg": differences(findings),
        "quality-macs.svg": quality_against_work(findings),
        "learning-curves.svg": learning_curves(findings, list(results)),
    }
    drawings = {name: drawing for name, drawing in drawings.items() if drawing}
    content = report_content(findings, source)
    inline = {name: _inlined(drawing) for name, drawing in drawings.items()}
    files = {
        **drawings,
        "report.md": _render("report.md.j2", content | {"drawings": drawings}),
        "report.html": _render("report.html.j2", content | {"drawings": inline}),
    }
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in files]


def report_content(findings: Findings, source: str) -> dict[str, Any]:
    """Everything the templates show, numbers as text."""
    study = findings.study
    return {
        "study": study,
        "source": source,
        "sentences": findings.sentences,
        "metrics": [_metric(metric) for metric in findings.metrics],
        "further": [_metric(metric) for metric in findings.further],
        "cells": [
            {
                "scenario": cell.scenario,
                "method": cell.method,
                "parameters": "–" if cell.parameters is None else f"{cell.parameters:,}",
                "macs": _millions(cell.macs_per_second),
                "seconds": f"{cell.seconds:.0f}",
                "scores": [
                    _spread(cell.scores.get(metric.metric), metric.digits)
                    for metric in findings.metrics
                ],
                "runs": max((score.runs for score in cell.scores.values()), default=0),
            }
            for cell in findings.cells
        ],
        "references": [
            {
                "name": _reference_name(findings, result),
                "parameters": "–" if result.parameters is None else f"{result.parameters:,}",
                "macs": _millions(result.macs_per_second),
                "scores": [
                    _number(result.mean(metric.metric), metric.digits)
                    for metric in findings.metrics
                ],
            }
            for result in findings.references
        ],
        "determinism": findings.determinism,
        "failed": findings.failed,
        "missing": findings.missing,
        "environments": findings.environments,
        "settings": yaml.safe_dump(
            study.model_dump(mode="json", exclude_unset=True),
            sort_keys=False,
            default_flow_style=None,
            width=100,
        ),
        "comparisons": max((len(metric.comparisons) for metric in findings.metrics), default=0),
        "utterances": _utterances(findings),
        "smallest": _smallest(findings),
    }


def _metric(metric: MetricFindings) -> dict[str, Any]:
    digits = metric.digits + 1
    floor = metric.floor
    return {
        "title": metric.title,
        "control": metric.control,
        "floor": None
        if floor is None
        else {
            "deviation": f"{floor.deviation:.{digits}f}",
            "largest": f"{floor.largest:.{digits}f}",
            "limit": f"{floor.limit:.{digits}f}",
            "pairs": floor.pairs,
            "runs": floor.runs,
        },
        "comparisons": [
            _comparison(scenario, method, comparison, digits)
            for (scenario, method), comparison in metric.comparisons.items()
        ],
    }


def _comparison(scenario: str, method: str, comparison: Comparison, digits: int) -> dict[str, str]:
    verdict: str = comparison.verdict
    if comparison.reason:
        verdict += f" ({comparison.reason})"
    return {
        "scenario": scenario,
        "method": method,
        "difference": f"{comparison.difference:+.{digits}f}",
        "bootstrap": _interval(comparison.interval, digits),
        "seeds": _interval(comparison.seed_interval, digits),
        "seed_p": _p(comparison.seed_p),
        "sign_p": _p(comparison.sign_p),
        "wilcoxon_p": _p(comparison.wilcoxon_p),
        "holm_p": _p(comparison.holm_p),
        "verdict": verdict,
    }


def _reference_name(findings: Findings, reference: RunResult) -> str:
    """Teachers are told apart by the scenario that first needs them, where there are several."""
    alike = [result for result in findings.references if result.method == reference.method]
    return reference.method if len(alike) == 1 else f"{reference.method} ({reference.scenario})"


def _utterances(findings: Findings) -> int:
    return max((len(result.utterances) for result in findings.references), default=0)


def _smallest(findings: Findings) -> str:
    """The least p that flipping signs of so many seeds can give, as half a sentence."""
    for metric in findings.metrics:
        for comparison in metric.comparisons.values():
            if comparison.smallest_sign_p is not None:
                least = f"{comparison.smallest_sign_p:.4g}"
                return f"with {comparison.seeds} seeds it cannot be less than {least}"
    return ""


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _spread(value: MeanStd | None, digits: int) -> str:
    if value is None:
        return "–"
    spread = "" if value.std is None else f" ± {value.std:.{digits}f}"
    return f"{value.mean:.{digits}f}{spread}"


def _interval(interval: tuple[float, float] | None, digits: int) -> str:
    return "–" if interval is None else f"{interval[0]:+.{digits}f} … {interval[1]:+.{digits}f}"


def _millions(value: float | None) -> str:
    return "–" if value is None else f"{value / 1e6:.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _inlined(drawing: str) -> str:
    """The SVG element alone: an HTML page takes no XML declaration."""
    return re.sub(r"^.*?(?=<svg)", "", drawing, count=1, flags=re.DOTALL)


def _render(name: str, content: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    text = (resources.files("distill") / "study_templates" / name).read_text("utf-8")
    surroundings = Environment(
        autoescape=name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return surroundings.from_string(text).render(content)


def summary(study: Study, findings: Findings) -> dict[str, Any]:
    """The findings as plain data, for ``--json``."""
    return {
        "study": study.name,
        "runs": sum(
            max((s.runs for s in cell.scores.values()), default=0) for cell in findings.cells
        ),
        "missing": findings.missing,
        "failed": [
            {"scenario": r.scenario, "method": r.method, "seed": r.seed, "error": r.error}
            for r in findings.failed
        ],
        "determinism": vars(findings.determinism),
        "cells": [
            {
                "scenario": cell.scenario,
                "method": cell.method,
                "parameters": cell.parameters,
                "macs_per_second": cell.macs_per_second,
                "scores": {name: vars(value) for name, value in cell.scores.items()},
            }
            for cell in findings.cells
        ],
        "metrics": [
            {
                "metric": metric.metric,
                "control": metric.control,
                "noise_floor": None if metric.floor is None else vars(metric.floor),
                "comparisons": [
                    {"scenario": scenario, "method": method, **vars(comparison)}
                    for (scenario, method), comparison in metric.comparisons.items()
                ],
            }
            for metric in (*findings.metrics, *findings.further)
        ],
        "reading": findings.sentences,
    }
