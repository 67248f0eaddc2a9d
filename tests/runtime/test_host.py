"""This machine as a place to profile: what is measured, where, and what a crash costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.artefact import Artefact
from runtime.benchmark import (
    Contestant,
    Environment,
    Turns,
    chosen_cpu,
    time_in_turns,
)
from runtime.devices.children import ToolMissing
from runtime.devices.host import entries, measure, ratios
from runtime.devices.host_figures import conditions_of
from runtime.doctor import installed_version
from runtime.engines.native import find_compiler
from runtime.figures import Provenance
from runtime.profiling.backends import Findings, Request
from runtime.profiling.labels import labels
from runtime.profiling.records import Reading
from runtime.turns import CHUNK_HOPS, LEAST_ROUNDS
from targets.errors import GateUnavailable, InputError
from tests.runtime.fakes import needs_tflm
from tests.runtime.tiny_c import write_c_artefact
from tests.runtime.tiny_models import write_artefact

QUICK = 0.01  # seconds: no more rounds than the least
SURVIVES_OPENING = 500  # steps: more than are recorded, fewer than are timed

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
needs_pinning = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def trio(folder: Path) -> list[Artefact]:
    """An artefact of every kind: TFLite, ONNX and C."""
    return [
        write_artefact(folder, "tflite-fp32"),
        write_artefact(folder, "onnx-fp32"),
        write_c_artefact(folder / "c"),
    ]


@pytest.fixture(scope="module")
def found(trio: list[Artefact]) -> Findings:
    if find_compiler() is None:
        pytest.skip("no C compiler")
    return measure(trio, Request(seconds=QUICK))


def reading(found: Findings, artefact: int, place: str) -> Reading:
    return next(each for each in found.readings[artefact] if each.place == place)


def test_every_format_is_measured_in_its_own_engine(found: Findings) -> None:
    for at, engine in enumerate(("litert", "onnxruntime", "native")):
        figures = {figure.name: figure for figure in reading(found, at, engine).figures}
        median, p95, p99 = (figures[f"step, {r} [{engine}]"] for r in ("median", "p95", "p99"))
        assert median.low is not None
        assert median.high is not None
        assert 0 < median.low <= median.value <= p95.value <= p99.value <= median.high
        whole = figures[f"whole hop, median [{engine}]"].value
        share = figures[f"streaming share [{engine}]"]
        assert share.value == pytest.approx(100.0 * (1.0 - median.value / whole))
        assert share.unit == "%"
        assert share.low is not None
        assert share.high is not None
        assert share.low <= share.value <= share.high
        assert figures[f"step of hop, p99 [{engine}]"].value == pytest.approx(p99.value / 160)
        assert figures[f"library memory [{engine}]"].value >= 0
        assert figures[f"peak memory [{engine}]"].value > 10_000


def test_conditions_tell_what_else_may_have_mattered(found: Findings) -> None:
    figure = reading(found, 0, "litert").figures[0]
    assert figure.provenance is Provenance.MEASURED_HOST
    assert "ai-edge-litert" in figure.tool
    count = LEAST_ROUNDS * CHUNK_HOPS
    for text in (
        f"{count} in {LEAST_ROUNDS} rounds",
        "1 thread",
        "pinned to CPU" if hasattr(os, "sched_setaffinity") else "not pinned",
        "in turns",
        "load ",
        "governor",
        "interrupted",
    ):
        assert text in figure.conditions


def test_load_time_says_whether_compiling_is_in_it(found: Findings) -> None:
    names = [{figure.name for figure in each.figures} for part in found.readings for each in part]
    assert any("load [litert]" in some for some in names)
    assert any("compile and load [native]" in some for some in names)


def test_ratios_are_of_the_fastest_and_hold_their_intervals(found: Findings) -> None:
    assert len(found.ratios) == 2
    assert len({ratio.faster for ratio in found.ratios}) == 1
    for ratio in found.ratios:
        assert ratio.ratio >= 1.0
        assert ratio.low <= ratio.ratio <= ratio.high
        assert ratio.slower != ratio.faster
    named = {ratio.slower for ratio in found.ratios} | {found.ratios[0].faster}
    assert named == {
        "tiny-tflite-fp32.tflite [litert]",
        "tiny-onnx-fp32.onnx [onnxruntime]",
        "c [native]",
    }


def test_operators_of_c_come_from_its_hooks(found: Findings) -> None:
    rows = reading(found, 2, "native").operators
    assert [(row.step, row.kind, row.output, row.macs) for row in rows] == [
        (0, "CONV_2D", "mask", 1536),
        (2, "CONCATENATION", "memory_out", 0),
    ]
    for row in rows:
        assert row.unit == "µs"
        assert row.provenance is Provenance.MEASURED_HOST
        assert row.low is not None
        assert row.value is not None
        assert row.high is not None
        assert 0 <= row.low <= row.value <= row.high


def test_operators_of_onnx_runtime_come_from_its_profiler(found: Findings) -> None:
    rows = reading(found, 1, "onnxruntime").operators
    assert [row.step for row in rows] == list(range(len(rows)))
    by_output = {row.output: row for row in rows}
    assert by_output["both"].kind == "Concat"
    assert by_output["both"].shape == (1, 2, 256, 3)
    assert "mask" in by_output
    assert all("whole µs" in row.note for row in rows)


def test_what_litert_and_onnx_lack_has_a_reason(found: Findings) -> None:
    lacking = {each.name: each.reason for part in found.readings for r in part
               for each in r.unavailable}  # fmt: skip
    assert "profiler" in lacking["operators [litert]"]


def test_governor_and_clock_are_told_where_they_can_be_read() -> None:
    before = Environment(
        load=0.5, governor="powersave", khz=800_000, interruptions=7, affinity=(2,)
    )
    after = before.model_copy(update={"load": 3.25, "khz": 2_400_000, "interruptions": 19})
    text = conditions_of(Turns(({},), {}, before, after), 2)
    for part in (
        "pinned to CPU 2",
        "load 0.50 before, 3.25 after",
        "governor powersave",
        "clock 800 MHz before, 2400 after",
        "interrupted 12 times",
    ):
        assert part in text
    unpinned = conditions_of(Turns(({},), {}), None)
    assert "not pinned (this system cannot)" in unpinned


@needs_tflm
def test_the_arena_stands_with_tflm_whether_it_was_timed_or_not(folder: Path) -> None:
    artefact = write_artefact(folder, "tflite-int8")
    for engines in ((), ("tflm",)):
        found = measure([artefact], Request(seconds=QUICK, engines=engines))
        (part,) = (each for each in found.readings[0] if each.place == "tflm")
        names = [figure.name for figure in part.figures]
        assert names[-2:] == ["TFLM arena", "TFLM arena to reserve"]
        assert ("step, median [tflm]" in names) == bool(engines)


def test_a_child_that_cannot_start_is_told(
    trio: list[Artefact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(GateUnavailable, match="the benchmark process failed"):
        measure(trio[:1], Request(seconds=QUICK))


@needs_pinning
def test_the_child_runs_on_the_cpu_asked_for(folder: Path) -> None:
    artefact = write_artefact(folder, "tflite-int8")
    allowed = sorted(os.sched_getaffinity(0))
    assert chosen_cpu() == allowed[-1]
    for cpu in {allowed[0], allowed[-1]}:
        turns = time_in_turns([Contestant(artefact, "litert")], QUICK, chosen_cpu(cpu))
        for environment in (turns.before, turns.after):
            assert environment is not None
            assert environment.affinity == (cpu,)
    assert sorted(os.sched_getaffinity(0)) == allowed  # the caller itself is not pinned


@needs_pinning
def test_a_cpu_that_is_not_there_is_bad_input() -> None:
    with pytest.raises(InputError, match="may not run on CPU 4000"):
        chosen_cpu(4000)


def test_a_system_that_cannot_pin_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert chosen_cpu() is None
    with pytest.raises(InputError, match="cannot pin"):
        chosen_cpu(0)


@needs_compiler
def test_a_crash_costs_one_engine_only(folder: Path) -> None:
    """It is told of, and the others run side by side, in a fresh child."""
    mortal = write_c_artefact(folder / "mortal", life=SURVIVES_OPENING)
    names = ("litert", "native", "onnxruntime")
    artefacts = [write_artefact(folder), mortal, write_artefact(folder, "onnx-fp32")]
    turns = time_in_turns(list(map(Contestant, artefacts, names)), QUICK)
    assert set(turns.failures) == {1}
    assert "signal 6" in turns.failures[1].message
    assert [sorted(parts) for parts in turns.durations] == [
        ["step", "whole hop"],
        [],
        ["step", "whole hop"],
    ]
    assert len(ratios(names, turns)) == 1


@needs_compiler
def test_what_crashes_is_unavailable_with_the_reason(folder: Path) -> None:
    mortal = write_c_artefact(folder / "reading", life=1)
    (only,) = measure([mortal], Request(seconds=QUICK)).readings[0]
    lacking = {each.name: each.reason for each in only.unavailable}
    assert set(lacking) == {f"{n} [native]" for n in ("step", "load", "peak memory", "operators")}
    assert all("crash" in reason for reason in lacking.values())
    assert not only.figures


@needs_compiler
def test_sources_that_do_not_compile_cost_one_engine_only(folder: Path) -> None:
    broken = write_c_artefact(folder / "broken", broken=True)
    turns = time_in_turns(
        [
            Contestant(broken, "native"),
            Contestant(write_artefact(folder, "onnx-fp32"), "onnxruntime"),
        ],
        QUICK,
    )
    assert "compile" in turns.failures[0].message or "not those" in turns.failures[0].message
    assert turns.durations[1]["step"].shape == (LEAST_ROUNDS, CHUNK_HOPS)


SLOW_COMPILER = """#!/bin/sh
[ "$1" = --version ] && exec /usr/bin/env echo "cc 12.2.0"
touch "$TMPDIR/of the compiler"
echo started > "$STARTED"
sleep 60 &
wait
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_profile_that_was_stopped(
    tmp_path: Path, repository: Path, signal_number: int
) -> None:
    """Neither the compiler that a child had started nor a folder."""
    artefact = write_c_artefact(tmp_path / "model")
    programs, temporary, started = tmp_path / "bin", tmp_path / "tmp", tmp_path / "started"
    programs.mkdir()
    temporary.mkdir()
    (programs / "cc").write_text(SLOW_COMPILER)
    (programs / "cc").chmod(0o755)
    os.mkfifo(started)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TMPDIR": str(temporary),
        "STARTED": str(started),
        "PYTHONPATH": str(repository),
    }
    command = [sys.executable, "-m", "sordino", "profile", str(artefact.path)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        started.read_text()  # waits for the compiler
        running.send_signal(signal_number)
        _, said = running.communicate(timeout=30)
    assert "Stopped before the end." in said
    assert running.returncode == 128 + signal_number
    assert list(temporary.iterdir()) == []
    assert _running_with(str(started)) == []


def _running_with(text: str) -> list[str]:
    """Processes that have ``text`` in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if text in (place / "environ").read_text(errors="replace"):
                found.append(place.name)
    return found


def test_the_only_engine_missing_is_a_missing_tool(
    trio: list[Artefact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.doctor.installed_version", lambda names: "")
    with pytest.raises(ToolMissing, match="tflite-micro") as missing:
        measure(trio[:1], Request(engines=("tflm",)))
    assert missing.value.exit_code == 3
    assert "pip install" in missing.value.hint


def test_generated_c_without_a_compiler_is_a_missing_tool(
    trio: list[Artefact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissing, match="needs a C compiler") as missing:
        measure(trio[2:], Request())
    assert "apt install gcc" in missing.value.hint


def test_one_engine_of_several_missing_is_unavailable(
    trio: list[Artefact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "runtime.doctor.installed_version",
        lambda names: "" if "onnxruntime" in names else installed_version(names),
    )
    found = measure(trio[:2], Request(seconds=QUICK))
    assert not found.readings[1][0].figures
    assert all("onnxruntime" in each.reason for each in found.readings[1][0].unavailable)
    assert found.readings[0][0].figures


def test_engines_go_to_the_artefacts_they_run(trio: list[Artefact]) -> None:
    asked = entries(trio, ("onnxruntime", "litert", "tflm", "native", "litert"))
    assert [(entry.artefact, entry.engine) for entry in asked] == [
        (0, "litert"),
        (0, "tflm"),
        (1, "onnxruntime"),
        (2, "native"),
    ]
    assert [entry.engine for entry in entries(trio, ())] == ["litert", "onnxruntime", "native"]
    for engines, reason in (
        (("warp",), "No engine is called 'warp'"),
        (("litert",), "does not run"),
        (("litert", "onnxruntime"), "does not run"),
    ):
        with pytest.raises(InputError, match=reason):
            entries(trio, engines)
    with pytest.raises(InputError, match="native does not run"):
        entries(trio[:2], ("litert", "onnxruntime", "native"))


def test_a_model_altered_meanwhile_is_told(folder: Path) -> None:
    artefact = write_artefact(folder / ".", "tflite-int8")
    kept = artefact.path.read_bytes()
    artefact.path.write_bytes(kept[:-1])
    turns = time_in_turns([Contestant(artefact, "litert")], QUICK)
    artefact.path.write_bytes(kept)
    assert "is not the file its sidecar describes" in turns.failures[0].message
    assert turns.durations == ({},)


def test_artefacts_of_one_name_are_told_apart(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
    twins = [write_artefact(folder / name, "tflite-fp32") for name in ("one", "two")]
    assert labels(twins) == ["one/tiny-tflite-fp32.tflite", "two/tiny-tflite-fp32.tflite"]
    assert labels(twins[:1]) == ["tiny-tflite-fp32.tflite"]
