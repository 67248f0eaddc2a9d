"""Tables of a profile: every figure with its class, 80 characters wide."""

from __future__ import annotations

import io

from rich.console import Console

from runtime.figures import Provenance
from runtime.profiling.records import ProfileReport, Reading
from runtime.profiling.tables import report_tables
from tests.runtime.profiling.made_up import figure, report, subject


def printed(made: ProfileReport, operators: bool = True) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    for table in report_tables(made, operators):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_figure_stands_with_its_class_and_note() -> None:
    text = printed(report())
    assert max(map(len, text.splitlines())) <= 80
    (median,) = (line for line in text.splitlines() if "843,211" in line)
    assert "step, median" in median
    assert "simulated" in median
    for word in ("measured-host", "exact", "qemu-system-arm 7.2.22", "litert 2.1.2", "(0.531 %"):
        assert word in text


def test_a_modelled_range_is_shown_as_a_range() -> None:
    modelled = figure("step [m55]", 500.0, "µs", Provenance.MODELLED, low=400.0, high=600.0)
    text = printed(report(subject("a", Reading(backend="vela", place="u55", figures=(modelled,)))))
    assert "400 – 600 µs" in text
    assert "500" not in text


def test_operators_come_by_share_and_small_ones_in_one_row() -> None:
    text = printed(report())
    assert text.index("encoder2_out") < text.index("encoder1_out") < text.index("2 others")
    assert "69.5%" in text
    assert "0.7%" in text
    assert "encoder2_out" not in printed(report(), operators=False)


def test_what_is_unavailable_says_why_and_markup_is_text() -> None:
    text = printed(report())
    assert "QEMU counts no cycles." in text
    assert "adb is not installed." in text
    assert "a [litert]" in text


def test_masks_that_differ_stand_out() -> None:
    wrong = Reading(backend="ssh", place="pi", matches=False, difference="frame 3, value 7")
    text = printed(report(subject("a", wrong)))
    assert "differ" in text
    assert "frame 3, value 7" in text


def test_a_note_of_several_models_is_said_once() -> None:
    alone = printed(report(subject("a")), operators=False)
    both = printed(report(subject("a"), subject("b")), operators=False)
    said = [line for line in alone.splitlines() if line[:1].isdigit() and ": " in line]
    assert said
    assert all(both.count(line) == 1 for line in said)
