"""The roofline plot: what it shows, which lines it knows, and when there is nothing to draw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.figures import Provenance
from runtime.profiling.records import OperatorRow, ProfileReport, Reading
from runtime.profiling.roofline import Panel, panels_of, plot_roofline
from targets.errors import InputError
from targets.schema import Target
from tests.runtime.profiling.made_up import host_reading, report, subject

TARGET = Target.model_validate(
    {
        "schema": "sordino-target/2",
        "name": "board",
        "kind": "device",
        "class": "board",
        "title": "A board",
        "formats": ["c-int8"],
        "clock_mhz": 100.0,
        "memory": [
            {"name": "flash", "kind": "flash", "holds": ("weights",), "read_mb_s": 200.0},
        ],
        "accelerator": [{"name": "npu", "clock_mhz": 500.0, "macs_per_cycle": 128.0}],
        "sources": [
            {
                "supports": (
                    "clock_mhz",
                    "memory.flash",
                    "memory.flash.read_mb_s",
                    "accelerator.npu",
                ),
                "title": "made up",
            }
        ],
    }
)


def measured(unit: str = "µs", place: str = "", **known: Any) -> ProfileReport:
    provenance = known.pop("provenance", Provenance.MEASURED_DEVICE)

    def row(step: int, macs: int, value: float, moved: int | None = 1_000) -> OperatorRow:
        return OperatorRow(
            step=step,
            kind="CONV_2D",
            output=f"layer{step}",
            macs=macs,
            bytes_moved=moved,
            value=value,
            unit=unit,
            provenance=provenance,
            place=place,
        )

    rows = (row(0, 10_000, 10.0), row(1, 30_000, 60.0), row(2, 0, 25.0), row(3, 5_000, 5.0, None))
    return report(subject("model.c", Reading(backend="ssh", place="pi", operators=rows)))


def panel(made: ProfileReport, target: Target | None = None) -> Panel:
    (found,) = panels_of(made, target)
    return found


def test_points_are_work_per_byte_and_per_unit_with_their_share() -> None:
    shown = panel(measured())
    assert [(p.intensity, p.speed, p.share) for p in shown.points] == [
        (30.0, 500.0, 0.6),
        (10.0, 1000.0, 0.1),
    ]
    assert shown.unit == "µs"
    assert "2 operators without MACs" not in shown.idle or "30.0%" in shown.idle
    assert "measured-device" in shown.title


def test_lines_that_nobody_knows_stand_at_the_best_operator() -> None:
    shown = panel(measured())
    assert (shown.compute.rate, shown.compute.known) == (1000.0, False)
    assert (shown.memory.rate, shown.memory.known) == (100.0, False)
    assert "layer0" in shown.compute.label


@pytest.mark.parametrize(
    ("unit", "place", "memory", "compute"),
    [
        ("µs", "", 200.0, None),
        ("cycles", "", 2.0, None),
        ("cycles", "NPU", 0.4, 128.0),
        ("µs", "NPU", 200.0, 64_000.0),
    ],
)
def test_a_target_gives_its_bandwidth_and_the_work_of_its_accelerator(
    unit: str, place: str, memory: float, compute: float | None
) -> None:
    shown = panel(measured(unit, place), TARGET)
    assert (shown.memory.rate, shown.memory.known) == (memory, True)
    assert shown.compute.known == (compute is not None)
    if compute is not None:
        assert shown.compute.rate == compute


@pytest.mark.parametrize("provenance", [Provenance.MEASURED_HOST, Provenance.SIMULATED])
def test_a_target_says_nothing_of_another_machine(provenance: Provenance) -> None:
    assert not panel(measured(provenance=provenance), TARGET).memory.known


def test_it_draws_png(tmp_path: Path) -> None:
    made = report(*measured().subjects, *report().subjects)
    plot_roofline(made, None, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_it_draws_svg_the_same_each_time(tmp_path: Path) -> None:
    (row, *others) = report().subjects[0].readings[1].operators
    odd = row.model_copy(update={"output": "a$\\frac{$"})
    part = Reading(backend="simulator", place="cortex-m4", operators=(odd, *others))
    for name in ("a.SVG", "b.svg"):
        plot_roofline(report(subject("model.c", part)), None, tmp_path / name)
    text = (tmp_path / "a.SVG").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    for word in ("MACs per byte moved", "MACs per instruction", "encoder2_out", "a$\\frac{$"):
        assert word in text


@pytest.mark.parametrize("name", ["roof.pdf", "roof"])
def test_another_form_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        plot_roofline(measured(), None, tmp_path / name)


def test_without_measured_operators_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to plot"):
        plot_roofline(report(subject("a", host_reading())), None, tmp_path / "a.png")


def test_without_matplotlib_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="matplotlib") as caught:
        plot_roofline(measured(), None, tmp_path / "a.png")
    assert "study" in caught.value.hint
    assert not (tmp_path / "a.png").exists()
