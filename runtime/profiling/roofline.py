"""A roofline-style plot: how well each operator uses what it reads.

After S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model
for multicore architectures", Commun. ACM 52(4), 2009: work per byte against work per unit of time,
under a slope of so many bytes and a flat line of so much work per unit. Here the unit is that of
the measurement, instructions, cycles or µs, and a line that no figure of the target gives is drawn
at the best operator and says so.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.artefact import write_atomically
from runtime.figures import Provenance
from runtime.profiling.operators import shares
from runtime.profiling.records import OperatorRow, ProfileReport, Reading
from targets.errors import InputError
from targets.schema import Accelerator, Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES: Final = (".png", ".svg")
PANEL: Final = (9.0, 4.6)  # inches
DOTS: Final = 130  # per inch
LISTED: Final = 12  # operators that are numbered and named beside the plot
LARGEST_MARK: Final = 1200.0  # square points
SLOPE: Final = "#a63603"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")


@dataclass(frozen=True)
class Point:
    """An operator with work: MACs per byte, MACs per unit, its share of the whole."""

    row: OperatorRow
    intensity: float
    speed: float
    share: float


@dataclass(frozen=True)
class Ceiling:
    """A limit and where it comes from: bytes per unit, or MACs per unit."""

    rate: float
    label: str
    known: bool  # from the target, not from the best operator


@dataclass(frozen=True)
class Panel:
    """Everything that is drawn about one reading."""

    title: str
    unit: str  # singular: "instruction"
    points: tuple[Point, ...]  # the greatest share first
    idle: str  # what the operators without MACs took
    memory: Ceiling
    compute: Ceiling


def plot_roofline(report: ProfileReport, target: Target | None, path: Path) -> None:
    """Draw every reading that has measured operators, one panel each, as PNG or SVG by suffix.

    Raises InputError for another suffix, without matplotlib, and for a report in which no operator
    with MACs was measured.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"A plot is written as {' or '.join(SUFFIXES)}, not {suffix or 'without suffix'}.",
            hint="Name it roofline.png.",
        )
    panels = panels_of(report, target)
    if not panels:
        raise InputError(
            "No operator was measured, so there is nothing to plot.",
            hint="Profile generated C, or in a place that tells operators apart: "
            "--on simulator:cortex-m4.",
        )
    write_atomically(path, _drawn(panels, suffix.removeprefix(".")))


def panels_of(report: ProfileReport, target: Target | None) -> tuple[Panel, ...]:
    """One for every reading in which operators with MACs and known bytes were measured."""
    found = []
    for subject in report.subjects:
        for part in subject.readings:
            points = _points(part)
            if points:
                found.append(_panel(f"{subject.artefact} ({subject.format})", part, points, target))
    return tuple(found)


def _points(part: Reading) -> tuple[Point, ...]:
    points = [
        Point(row, row.macs / row.bytes_moved, row.macs / row.value, share)
        for row, share in zip(part.operators, shares(part.operators), strict=True)
        if row.macs and row.bytes_moved and row.value and share is not None
    ]
    return tuple(sorted(points, key=lambda point: -point.share))


def _panel(name: str, part: Reading, points: tuple[Point, ...], target: Target | None) -> Panel:
    unit, provenance = points[0].row.unit, points[0].row.provenance
    if provenance not in (Provenance.MEASURED_DEVICE, Provenance.MODELLED):
        target = None  # its figures say nothing of this machine, nor of what a core counts
    rest = 1.0 - sum(point.share for point in points)
    others = len(part.operators) - len(points)
    idle = f"{others} operators without MACs took {rest:.1%} of all {unit}" if others else ""
    return Panel(
        title=f"{name} on {part.backend}, {part.place} ({unit}: {provenance})",
        unit=_one(unit),
        points=points,
        idle=idle,
        memory=_memory(unit, points, target),
        compute=_compute(unit, points, target),
    )


def _memory(unit: str, points: Sequence[Point], target: Target | None) -> Ceiling:
    """Bytes per unit: the bandwidth of the region that the target prefers for weights."""
    region = next(iter(target.regions_for("weights")), None) if target else None
    if target and region and region.read_mb_s is not None:
        clock = _clock(points, target)
        where = f"{region.name} of {target.name}, {region.read_mb_s:g} MB/s"
        if unit == "µs":  # 10⁶ bytes a second are one byte a µs
            return Ceiling(region.read_mb_s, where, True)
        if unit == "cycles" and clock:
            return Ceiling(region.read_mb_s / clock, f"{where} at {clock:g} MHz", True)
    best = max(points, key=lambda point: point.speed / point.intensity)
    rate = best.speed / best.intensity
    label = f"most bytes here, {best.row.output}: {_speed(rate)} per {_one(unit)}"
    return Ceiling(rate, label, False)


def _compute(unit: str, points: Sequence[Point], target: Target | None) -> Ceiling:
    """MACs per unit: what an accelerator of the target can do, where the operators ran on one."""
    part = _accelerator(points, target) if target else None
    if part and part.macs_per_cycle is not None:
        label = f"{part.name}, {part.macs_per_cycle:g} MACs a cycle"
        if unit == "cycles":
            return Ceiling(part.macs_per_cycle, label, True)
        if unit == "µs" and part.clock_mhz:
            rate = part.macs_per_cycle * part.clock_mhz
            return Ceiling(rate, f"{label} at {part.clock_mhz:g} MHz", True)
    best = max(points, key=lambda point: point.speed)
    label = f"best here, {best.row.output}: {_speed(best.speed)} MACs per {_one(unit)}"
    return Ceiling(best.speed, label, False)


def _accelerator(points: Sequence[Point], target: Target) -> Accelerator | None:
    """The target's, where every operator that counts ran on it."""
    on_it = all(point.row.place == "NPU" for point in points)
    return next(iter(target.accelerators), None) if on_it else None


def _clock(points: Sequence[Point], target: Target) -> float | None:
    part = _accelerator(points, target)
    return part.clock_mhz if part else target.clock_mhz


def _speed(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 1e3 else f"{rate:.3g}"


def _one(unit: str) -> str:
    return unit if unit == "µs" else unit.removesuffix("s")


def _drawn(panels: Sequence[Panel], form: str) -> bytes:
    """Panels one below the other; the same bytes for the same data."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "Plots need matplotlib, which is not installed.", hint="pip install 'sordino[study]'"
        ) from error
    with mpl.rc_context(
        {
            "svg.hashsalt": "sordino",
            "svg.fonttype": "none",
            "font.size": 9,
            "text.parse_math": False,  # names of tensors are no formulas
        }
    ):
        figure = Figure(figsize=(PANEL[0], PANEL[1] * len(panels)), layout="constrained")
        grid = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(2.3, 1.0))
        for (axes, beside), panel in zip(grid, panels, strict=True):
            _draw(axes, panel)
            _name(beside, panel)
        buffer = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(buffer, format=form, dpi=DOTS, metadata=metadata)
    return buffer.getvalue()


def _draw(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter

    colours = _colours(panel)
    intensities = [point.intensity for point in panel.points]
    speeds = [point.speed for point in panel.points]
    left, right = min(intensities) / 2.5, max(intensities) * 2.5
    _draw_ceilings(axes, panel, left, right)
    greatest = max(point.share for point in panel.points)
    for point in reversed(panel.points):
        axes.scatter(
            point.intensity,
            point.speed,
            s=max(14.0, LARGEST_MARK * point.share / greatest),
            color=colours[point.row.kind],
            alpha=0.55,
            edgecolors="black",
            linewidths=0.6,
            zorder=3,
        )
    bottom, top = min(speeds) / 2.0, max(max(speeds), *_tops(panel)) * 1.9
    spans = math.log10(right / left), math.log10(top / bottom)
    for label, point in _labels(panel.points[:LISTED], spans):
        place = (point.intensity, point.speed)
        axes.annotate(label, place, ha="center", va="center", fontsize=8, zorder=4)
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    axes.set_xlabel("MACs per byte moved (inputs, weights and output once each)")
    axes.set_ylabel(f"MACs per {panel.unit}")
    axes.set_title(panel.title, fontsize=9, loc="left")
    for axis in (axes.xaxis, axes.yaxis):
        for which in ("major", "minor"):
            getattr(axis, f"set_{which}_formatter")(FuncFormatter(_tick(which)))
    axes.grid(True, which="major", linewidth=0.4, alpha=0.5)


def _tick(which: str) -> Callable[[float, int], str]:
    """Plain numbers, of the minor ticks those that begin with 2 or 5."""

    def text(value: float, _: int) -> str:
        first = round(value / 10.0 ** math.floor(math.log10(value) + 1e-9)) if value > 0 else 0
        return f"{value:,.10g}" if which == "major" or first in (2, 3, 5) else ""

    return text


def _labels(points: Sequence[Point], spans: tuple[float, float]) -> list[tuple[str, Point]]:
    """Numbers of the points, together where they would hide each other: "10–12". ``spans`` are the
    decades that the axes show."""

    def close(one: Point, other: Point) -> bool:
        aside = abs(math.log10(one.intensity / other.intensity)) / spans[0]
        above = abs(math.log10(one.speed / other.speed)) / spans[1]
        return aside < 0.02 and above < 0.03

    groups: list[list[int]] = []
    for at, point in enumerate(points):
        near = (group for group in groups if close(points[group[0]], point))
        if (group := next(near, None)) is None:
            groups.append([at])
        else:
            group.append(at)
    return [(_numbers(group), points[group[0]]) for group in groups]


def _numbers(group: Sequence[int]) -> str:
    first, last = group[0] + 1, group[-1] + 1
    if len(group) > 2 and last - first == len(group) - 1:
        return f"{first}–{last}"
    return ", ".join(str(at + 1) for at in group)


def _tops(panel: Panel) -> tuple[float, ...]:
    """Ceilings that are worth a place in the picture: not those far beyond every operator."""
    fastest = max(point.speed for point in panel.points)
    return tuple(
        ceiling.rate for ceiling in (panel.compute,) if ceiling.rate <= 30.0 * fastest
    ) or (fastest,)


def _draw_ceilings(axes: Axes, panel: Panel, left: float, right: float) -> None:
    """The slope up to where it meets the flat line, and that from there on."""
    memory, compute = panel.memory, panel.compute
    knee = compute.rate / memory.rate
    ends = (min(left, knee), min(right, knee))
    slope = ends, tuple(memory.rate * end for end in ends)
    flat = (min(max(left, knee), right), right), (compute.rate,) * 2
    for name, ceiling, (x, y), colour in (
        ("slope", memory, slope, SLOPE),
        ("flat", compute, flat, "black"),
    ):
        style = "-" if ceiling.known else "--"
        label = f"{name}: {ceiling.label}"
        axes.plot(x, y, style, color=colour, linewidth=1.2, zorder=2, label=label)
    lines = axes.legend(
        loc="lower right", fontsize=7.5, frameon=True, framealpha=0.85, handlelength=2.4
    )
    axes.add_artist(lines)
    for kind, colour in _colours(panel).items():
        axes.scatter([], [], s=30, color=colour, alpha=0.7, label=kind)
    marks, labels = axes.get_legend_handles_labels()
    drawn = [(mark, label) for mark, label in zip(marks, labels, strict=True) if ": " not in label]
    axes.legend(*zip(*drawn, strict=True), loc="upper left", fontsize=7, framealpha=0.85)


def _colours(panel: Panel) -> dict[str, str]:
    kinds = dict.fromkeys(point.row.kind for point in panel.points)
    return {kind: COLOURS[min(at, len(COLOURS) - 1)] for at, kind in enumerate(kinds)}


def _name(axes: Axes, panel: Panel) -> None:
    """The numbers' operators beside the plot."""
    axes.set_axis_off()
    colours = _colours(panel)
    listed = panel.points[:LISTED]
    step = 1.0 / (LISTED + 4)
    head = f"area: share of all {panel.unit}{'' if panel.unit == 'µs' else 's'}"
    axes.text(0.0, 1.0, head, transform=axes.transAxes, fontsize=8, va="top")
    for at, point in enumerate(listed, 1):
        place = 1.0 - (at + 0.7) * step
        axes.text(0.06, place, f"{at}", transform=axes.transAxes, fontsize=8, va="top", ha="right")
        text = f"{point.share:6.1%}  {_shortened(point.row.output)}"
        colour = colours[point.row.kind]
        axes.text(0.10, place, text, transform=axes.transAxes, fontsize=8, va="top", color=colour)
    more = len(panel.points) - len(listed)
    rest = sum(point.share for point in panel.points[LISTED:])
    lines = [f"{more} more with MACs: {rest:.1%}"] if more else []
    lines += [panel.idle] if panel.idle else []
    place = 1.0 - (len(listed) + 1.9) * step
    for line in lines:
        axes.text(0.0, place, line, transform=axes.transAxes, fontsize=7.5, va="top", wrap=True)
        place -= step


def _shortened(name: str) -> str:
    return name if len(name) <= 26 else f"…{name[-25:]}"
