"""The drawings of a study's report, as SVG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from distill.study_findings import Findings, MetricFindings, noisy_score
from distill.study_result import RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = (4.2, 3.4)  # inches


def quality_against_work(findings: Findings) -> str:
    """Mean score ± standard deviation over seeds against multiply-accumulates per second."""

    from matplotlib.ticker import LogFormatter

    def panel(metric: MetricFindings, axes: Axes) -> None:
        for number, method in enumerate(findings.study.methods):
            cells = [
                cell
                for cell in findings.cells
                if cell.method == method and metric.metric in cell.scores and cell.macs_per_second
            ]
            # Markers of one scenario would hide each other: each method a little further right.
            work = [(cell.macs_per_second or 0.0) / 1e6 * 1.02**number for cell in cells]
            scores = [cell.scores[metric.metric] for cell in cells]
            axes.errorbar(
                work,
                [score.mean for score in scores],
                yerr=[score.std or 0.0 for score in scores],
                fmt="o",
                markersize=4,
                capsize=2,
                label=method,
            )
        noisy = noisy_score(findings, metric.metric)
        if noisy is not None:
            axes.axhline(noisy, color="grey", linestyle=":", label="noisy")
        axes.set_xscale("log")
        for formatted in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            formatted(LogFormatter(labelOnlyBase=False, minor_thresholds=(2.0, 0.5)))
        axes.set_xlabel("MMAC/s")
        axes.set_ylabel(metric.title)
        axes.legend(fontsize="x-small")

    return _drawn([partial(panel, metric) for metric in findings.metrics])


def differences(findings: Findings) -> str:
    """Method minus control with its 95 % t interval over seeds; the noise floor is shaded."""

    from matplotlib.ticker import MaxNLocator

    def panel(metric: MetricFindings, axes: Axes) -> None:
        places = list(metric.comparisons)
        methods = list(findings.study.methods)
        limits = [c.floor for c in metric.comparisons.values() if c.floor is not None]
        if limits:
            axes.axvspan(-max(limits), max(limits), color="0.9", label="noise floor")
        for row, (place, comparison) in enumerate(metric.comparisons.items()):
            low, high = comparison.seed_interval or (comparison.difference,) * 2
            colour = f"C{methods.index(place[1])}"
            axes.plot([low, high], [row, row], color=colour, linewidth=1.5)
            filled = colour if comparison.verdict != "not distinguishable" else "white"
            axes.plot(
                comparison.difference, row, "o", color=colour, markerfacecolor=filled, markersize=5
            )
        axes.axvline(0.0, color="grey", linewidth=0.8)
        axes.set_yticks(range(len(places)), [f"{s} · {m}" for s, m in places], fontsize="x-small")
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{metric.title}: difference from {findings.study.control}")

    return _drawn([partial(panel, metric) for metric in findings.metrics])


def learning_curves(findings: Findings, runs: list[RunResult]) -> str:
    """SI-SDR of the training mixtures, mean over seeds, one panel per scenario; "" without data."""

    def panel(scenario: str, axes: Axes) -> None:
        for method in findings.study.methods:
            here = [
                run
                for run in runs
                if (run.kind, run.scenario, run.method) == ("run", scenario, method)
                and run.curve_steps
            ]
            if not here or len({run.curve_steps for run in here}) > 1:
                continue
            curves = np.array([run.curve_si_sdr for run in here])
            axes.plot(here[0].curve_steps, curves.mean(axis=0), label=method)
        axes.set_title(scenario, fontsize="small")
        axes.set_xlabel("step")
        axes.set_ylabel("SI-SDR of training mixtures (dB)")
        axes.legend(fontsize="x-small")

    if not any(len(run.curve_steps) > 1 for run in runs):
        return ""
    return _drawn([partial(panel, scenario) for scenario in findings.study.scenarios])


def _drawn(panels: Sequence[Callable[[Axes], None]]) -> str:
    """Panels side by side, three to a row, as an SVG that is the same for the same data."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = -(-len(panels) // columns) if panels else 0
    if not rows:
        return ""
    with mpl.rc_context({"svg.hashsalt": "sordino", "font.size": 8, "svg.fonttype": "none"}):
        figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, draw in zip(grid.flat, panels, strict=False):
            draw(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().decode()
