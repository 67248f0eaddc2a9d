"""benchmark_model of LiteRT: how it is found and called, and what is read from what it prints."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.devices.children import ToolMissing
from runtime.devices.linux_device import Core, Device
from runtime.devices.linux_figures import Bench, litert_figures
from runtime.devices.linux_litert import (
    BenchmarkTool,
    LiteRtTimings,
    find_benchmark,
    parse_output,
    run_benchmark,
)
from runtime.figures import Provenance
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime import tiny_models
from tests.runtime.devices.local_shell import LocalShell, write_program

# In the form of the present version, with percentiles.
NEW = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [1]
INFO: Graph: [model.tflite]
INFO: Loaded model model.tflite
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 0.151
INFO: Initialized session in 1.934ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=3000 first=401 curr=161 min=158 max=401 avg=166.2 std=9 p5=159 median=163 p95=190

INFO: Running benchmark for at least 50 iterations and at least 10 seconds but terminate if \
exceeding 150 seconds.
INFO: count=60321 first=165 curr=162 min=157 max=733 avg=165.43 std=11 p5=159 median=162 p95=188

INFO: Inference timings in us: Init: 1934, First inference: 401, Warmup (avg): 166.2, \
Inference (avg): 165.43
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only \
APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your \
discretion.
INFO: Memory footprint delta from the start of the tool (MB): init=1.25 overall=2.5
"""
# In that of versions before percentiles, with a table of operators behind it.
OLD = """\
Loaded model /data/local/tmp/model.tflite
Initialized session in 0.855ms
Running benchmark for at least 1 iterations and at least 0.5 seconds
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds
count=50 first=32891 curr=33978 min=32641 max=1.2e+06 avg=33209.4 std=450

Average inference timings in us: Warmup: 34825.1, Init: 855, no stats: 33209.4
Timings (microseconds): count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732 std=1929
"""
SAME = "count=2 curr=7(all same)\n\ncount=9 curr=7(all same)\n"
DEVICE = Device("Board", "aarch64", "Linux 6", (Core(2, fastest_khz=1_800_000),))


def test_the_run_is_read_and_not_the_warm_up() -> None:
    timings = parse_output(NEW)
    assert timings == LiteRtTimings(
        runs=60321,
        mean=165.43,
        minimum=157,
        maximum=733,
        deviation=11,
        median=162,
        p95=188,
        load=1934,
        memory=2.5 * 1024 * 1024,
        xnnpack=True,
    )


def test_an_old_version_has_no_percentiles() -> None:
    timings = parse_output(OLD)
    assert (timings.runs, timings.mean, timings.maximum) == (50, 33209.4, 1.2e6)
    assert timings.median is timings.p95 is timings.load is timings.memory is None
    assert not timings.xnnpack


def test_runs_that_all_took_as_long() -> None:
    timings = parse_output(SAME)
    assert (timings.runs, timings.mean, timings.minimum, timings.deviation) == (9, 7, 7, 0)


@pytest.mark.parametrize(
    "text", ["", NEW.partition("INFO: Running benchmark for at least 50")[0], "count=1\ncount=0\n"]
)
def test_output_without_timings_is_refused(text: str) -> None:
    with pytest.raises(GateFailed, match="no timings"):
        parse_output(text)


NUMBERS = st.text(alphabet="019.e+-", max_size=12)
ROWS = st.builds("count={} first=1 curr={} min={} avg={} median={}\n".format, *[NUMBERS] * 5)


@given(st.builds("{}{}Inference timings in us: Init: {}".format, ROWS, ROWS, NUMBERS))
def test_any_output_is_read_or_refused(text: str) -> None:
    with suppress(GateFailed):
        assert parse_output(text).runs >= 1


def bench() -> Bench:
    return Bench("ssh pi@host", "ssh", "pi@host", DEVICE, DEVICE.cores[0])


def test_figures_have_class_tool_and_conditions(tmp_path: Path) -> None:
    model = tiny_models.write_artefact(tmp_path)
    tool = BenchmarkTool("/usr/bin/benchmark_model", "taskset 4")
    figures, missing = litert_figures(bench(), model, tool, parse_output(NEW))
    values = {figure.name.removesuffix(" [ssh pi@host]"): figure for figure in figures}
    assert values["step, mean"].value == 165.43
    assert (values["step, mean"].low, values["step, mean"].high) == (157, 733)
    assert values["step, median"].value == 162
    assert values["step, p95"].value == 188
    assert values["load"].value == 1934
    assert values["peak memory"].value == 2.5 * 1024 * 1024
    assert {figure.provenance for figure in figures} == {Provenance.MEASURED_DEVICE}
    assert {figure.tool for figure in figures} == {"benchmark_model with XNNPACK"}
    told = values["step, median"].conditions
    assert "core 2, frequency not read (at most 1,800 MHz), taskset 4" in told
    assert "60,321 runs on one thread" in told
    contract = model.sidecar.contract
    share = 100 * 188 / (1e6 * contract.hop / contract.sample_rate)
    assert values["step of hop"].value == pytest.approx(share)
    assert "p95" in values["step of hop"].conditions
    assert [part.name for part in missing] == ["step, p99 [ssh pi@host]"]


def test_what_an_old_version_does_not_print_is_unavailable(tmp_path: Path) -> None:
    model = tiny_models.write_artefact(tmp_path)
    figures, missing = litert_figures(bench(), model, BenchmarkTool("x", ""), parse_output(OLD))
    assert {part.name.partition(" [")[0] for part in missing} == {
        *("step, median", "step, p95", "step, p99", "peak memory")
    }
    assert "not pinned" in figures[0].conditions
    assert "mean" in figures[1].conditions


def install(folder: Path, output: str, status: int = 0) -> Path:
    """A benchmark_model that prints ``output`` and keeps what it was called with."""
    (folder / "output").write_text(output)
    program = folder / "there" / "benchmark_model"
    write_program(program, f'echo "$@" > {folder}/called; cat {folder}/output; exit {status}')
    return program


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalShell:
    monkeypatch.delenv("SORDINO_BENCHMARK_MODEL", raising=False)
    (tmp_path / "device").mkdir()
    write_program(tmp_path / "there" / "taskset", f'echo $1 > {tmp_path}/mask; shift; exec "$@"')
    return LocalShell(tmp_path / "device", path=str(tmp_path / "there"))


def test_the_program_in_the_path_of_the_device_is_called_on_one_thread_and_core(
    device: LocalShell, tmp_path: Path
) -> None:
    install(tmp_path, NEW)
    model = tiny_models.write_artefact(tmp_path)
    remote = str(device.root)
    tool = find_benchmark(device, remote, 5)
    timings = run_benchmark(device, remote, tool, model.path, 10.0)
    assert timings.median == 162
    called = (tmp_path / "called").read_text().split()
    assert {"--num_threads=1", "--min_secs=10", "--graph=model.tflite"} <= set(called)
    assert (tmp_path / "mask").read_text().strip() == "20"
    assert (device.root / "model.tflite").read_bytes() == model.path.read_bytes()


def test_a_program_of_this_machine_is_copied_there(
    device: LocalShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = install(tmp_path, NEW).rename(tmp_path / "mine")
    monkeypatch.setenv("SORDINO_BENCHMARK_MODEL", str(program))
    tool = find_benchmark(device, str(device.root), 0)
    assert tool.path == f"{device.root}/benchmark_model"
    assert device.run(f"{tool.path} x").output == NEW


def test_a_device_without_taskset_is_told(device: LocalShell, tmp_path: Path) -> None:
    install(tmp_path, NEW)
    write_program(tmp_path / "there" / "taskset", "exit 127")
    assert find_benchmark(device, str(device.root), 0).pinning == ""


def test_no_program_at_all(device: LocalShell, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolMissing, match="no benchmark_model") as caught:
        find_benchmark(device, str(device.root), 0)
    assert "SORDINO_BENCHMARK_MODEL" in caught.value.hint
    monkeypatch.setenv("SORDINO_BENCHMARK_MODEL", "/nonexistent")
    with pytest.raises(InputError, match="names no file"):
        find_benchmark(device, str(device.root), 0)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [(1, GateFailed, "Failed to load"), (126, GateUnavailable, "cannot be started")],
)
def test_a_program_that_fails_says_why(
    device: LocalShell,
    tmp_path: Path,
    status: int,
    error: type[Exception],
    message: str,
) -> None:
    install(tmp_path, "ERROR: Failed to load model.tflite\n", status)
    model = tiny_models.write_artefact(tmp_path)
    tool = find_benchmark(device, str(device.root), 0)
    with pytest.raises(error, match=message):
        run_benchmark(device, str(device.root), tool, model.path, 1.0)
