"""Studies: what a file spans, what runs again, what is reported, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from click.testing import CliRunner

from distill.prepared import COLUMNS
from distill.road import distil
from distill.study import Study, builtin_studies, cells, load_study, merged, parse_study
from distill.study_cell import run_task
from distill.study_cli import study as command
from distill.study_findings import find
from distill.study_result import RunResult, load_result, load_table, save_table
from distill.study_runs import Plan, make_plan, recorded, run_plan
from distill.study_workers import ClusterWorkers, LocalWorkers
from distill.unet import PRESETS, UNet
from distill.work import macs_per_step
from export.lowering import lower
from targets.command import run
from targets.errors import InputError
from tests.distill.recordings import bursts, write

STUDY = """
name: small
base:
  data: DATA
  teacher:
    network: {widths: [6, 8], hidden: 12, patch: 8}
    training: {steps: 3, batch: 2}
  student:
    network: {widths: [4, 4], hidden: 6, patch: 8}
    training: {steps: 3, batch: 2}
  mixing: {seconds: 0.5}
scenarios:
  same:
  narrow: {student: {network: {hidden: 3}}}
methods:
  none:
  output:
seeds: 2
metrics: [si-sdr]
evaluation: {items: 3, seconds: 0.6}
noise_floor: {seeds: 1, scenarios: [same]}
"""


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight speakers and eight types of noise, prepared as a folder."""
    folder = tmp_path_factory.mktemp("recordings")
    lines = [",".join(COLUMNS)]
    for number in range(8):
        for kind in ("speech", "noise"):
            name = f"{kind}/{number}.wav"
            write(folder / name, bursts(100 * (kind == "noise") + number, 2.0))
            lines.append(f"{name},{kind},made,none,{kind}{number},{kind}{number},2.0")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def small(recordings: Path, **changes: Any) -> Study:
    content = yaml.safe_load(STUDY.replace("DATA", str(recordings)))
    return parse_study(yaml.safe_dump(content | changes, sort_keys=False), "test")


def do(study: Study, folder: Path, jobs: int = 1) -> tuple[Plan, list[RunResult]]:
    plan = make_plan(study, folder)
    return plan, list(run_plan(plan, LocalWorkers(jobs)))


@pytest.fixture(scope="session")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small study, run in this process; tests work on copies."""
    folder = tmp_path_factory.mktemp("study") / "small"
    _, results = do(small(recordings), folder)
    assert not [result.error for result in results if result.error]
    return folder


# --- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", builtin_studies())
def test_built_in_studies_span_recipes(name: str) -> None:
    assert len(list(cells(load_study(name)))) > 4


def test_a_study_spans_the_grid_and_its_repeats(recordings: Path) -> None:
    grid = list(cells(small(recordings)))
    runs = [(cell.seed, cell.scenario, cell.method) for cell in grid if cell.kind == "run"]
    assert runs == [
        (seed, scenario, method)
        for seed in (0, 1)
        for scenario in ("same", "narrow")
        for method in ("none", "output")
    ]
    # Repeats follow the first seed, so that a floor is known early.
    assert [cell.kind for cell in grid[4:6]] == ["initialisation", "identical"]
    narrow = next(cell for cell in grid if cell.scenario == "narrow" and cell.method == "output")
    network = narrow.recipe.student.network
    assert not isinstance(network, str)
    assert (network.hidden, network.widths) == (3, (4, 4))
    assert [method.method for method in narrow.recipe.distillation.methods] == ["output"]
    assert not narrow.recipe.control
    assert len({cell.place for cell in grid}) == len(grid)


def test_merging_replaces_all_but_mappings() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": "preset"}
    changed = merged(base, {"a": {"c": [3]}, "d": {"e": 4}})
    assert changed == {"a": {"b": 1, "c": [3]}, "d": {"e": 4}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": "preset"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scenarois": {}}, "'scenarios'"),
        ({"noise_floor": {"seedss": 1}}, "'seeds'"),
        ({"scenarios": {"same": None, "x": {"student": {"netwrok": "tiny"}}}}, "scenario x"),
        ({"scenarios": {"x": {"seed": 4}}}, "may not set 'seed'"),
        ({"scenarios": {}}, "at least one scenario"),
        ({"scenarios": {"../x": None}}, "no name"),
        ({"methods": {"none": None, "telepathy": None}}, "method telepathy"),
        ({"methods": {"output": None}}, "control 'none'"),
        ({"methods": {"none": None, "noisy": None}}, "'noisy'"),
        ({"seeds": [1, 1]}, "twice"),
        ({"seeds": 0}, "seeds"),
        ({"against": ["none"]}, "names the control"),
        ({"against": ["hint"]}, "'hint' is not"),
        ({"metrics": ["peqs"]}, "'pesq'"),
        ({"metrics": ["haspi"]}, "audiogram"),
        ({"noise_floor": {"scenarios": ["y"]}}, "no scenario 'y'"),
        ({"base": "nothing"}, "nothing"),
        ({"scenarios": {"same": {"student": {"checkpoint": "x"}}}}, "noise_floor.seeds"),
        ({"name": "../escape"}, "name"),
    ],
)
def test_a_wrong_study_is_refused_with_the_place(
    recordings: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        small(recordings, **changes)
    assert said in f"{caught.value.message} {caught.value.hint}"


# --- runs ----------------------------------------------------------------------------------------


def test_every_run_is_recorded_once_and_none_runs_again(recordings: Path, finished: Path) -> None:
    plan = make_plan(small(recordings), finished)
    # 2 × 2 × 2 runs, two repeats, noisy and the teacher that was trained for all.
    assert (len(plan.done), len(plan.first), len(plan.tasks)) == (12, 0, 0)
    assert len(list((finished / "teachers").iterdir())) == 1
    runs = {(r.kind, r.scenario, r.method, r.seed): r for r in plan.done}
    first = runs["run", "same", "none", 0]
    assert runs["identical", "same", "none", 0].weights_sha256 == first.weights_sha256
    assert runs["initialisation", "same", "none", 0].weights_sha256 != first.weights_sha256
    assert runs["run", "same", "none", 1].weights_sha256 != first.weights_sha256
    assert len(first.scores["si_sdr"]) == len(first.utterances) == 3
    assert all(r.utterances == first.utterances for r in plan.done)
    assert first.steps == 3
    assert first.parameters
    assert first.macs_per_second == pytest.approx((first.macs_per_step or 0) * 62.5)


def first_weights(study: Study, folder: Path) -> dict[tuple[str, str, str], str]:
    """Hash of the weights of every run of the first seed."""
    return {
        (result.kind, result.scenario, result.method): result.weights_sha256
        for result in recorded(study, folder)
        if result.seed == study.seeds[0]
    }


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    study = small(recordings, scenarios={"same": None}, seeds=1, noise_floor={"seeds": 0})
    _, results = do(study, tmp_path / "two", jobs=2)
    assert not [result.error for result in results if result.error]
    alone = first_weights(small(recordings), finished)
    for result in results:
        assert result.weights_sha256 == alone[result.kind, result.scenario, result.method]


def test_a_change_runs_again_what_it_affects_and_nothing_else(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    other_method = small(recordings, methods={"none": None, "output": {"method": "output",
        "weight": 0.25}})  # fmt: skip
    plan = make_plan(other_method, folder)
    assert {(task.method, task.kind) for task in plan.tasks} == {("output", "run")}
    assert (len(plan.tasks), plan.changed) == (4, 4)
    other_scenario = small(
        recordings, scenarios={"same": None, "narrow": {"student": {"network": {"hidden": 4}}}}
    )
    plan = make_plan(other_scenario, folder)
    assert {task.scenario for task in plan.tasks} == {"narrow"}
    other_steps = small(recordings)
    base = other_steps.base
    assert isinstance(base, dict)
    base["teacher"]["training"]["steps"] = 4
    plan = make_plan(other_steps, folder)
    assert {task.method for task in plan.tasks} == {"output"}  # the control has no teacher
    assert len(plan.first) == 1


def test_other_items_are_scored_without_training_again(
    recordings: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    monkeypatch.setattr("distill.training.train", None)  # calling it would fail
    monkeypatch.setattr("distill.road.train", None)
    _, results = do(small(recordings, evaluation={"items": 2, "seconds": 0.6}), folder)
    assert not [result.error for result in results if result.error]
    assert {len(result.utterances) for result in results} == {2}
    assert len(results) == 12


def test_a_failing_cell_is_told_and_tried_again(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(recipe: Any, folder: Path, device: str) -> Any:
        if recipe.distillation.methods:
            raise RuntimeError("out of luck")
        return distil(recipe, folder, device)

    study = small(recordings, scenarios={"same": None}, seeds=1, noise_floor={"seeds": 0})
    monkeypatch.setattr("distill.study_cell.distil", fails)
    _, results = do(study, tmp_path / "s")
    (failed,) = [result for result in results if result.error]
    assert (failed.method, failed.error) == ("output", "RuntimeError: out of luck")
    assert "Traceback" in (tmp_path / "s/runs/same/output/0/error.txt").read_text()
    monkeypatch.undo()
    plan, results = do(study, tmp_path / "s")
    assert [task.method for task in plan.tasks] == ["output"]
    assert not results[0].error
    assert not (tmp_path / "s/runs/same/output/0/error.txt").exists()


def test_a_task_leaves_the_arithmetic_of_its_process_as_it_was(
    recordings: Path, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    plan = make_plan(small(recordings, threads=threads + 1), tmp_path / "s")
    run_task(plan.tasks[0])
    assert torch.get_num_threads() == threads
    assert sys.float_info.min / 2.0 > 0.0


def test_the_folder_of_another_study_is_refused(recordings: Path, finished: Path) -> None:
    with pytest.raises(InputError, match="holds the study small"):
        make_plan(small(recordings, name="other"), finished)


def test_two_studies_do_not_run_in_one_folder(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    study = small(recordings)
    for place in ("same", "narrow"):
        (folder / "runs" / place / "none" / "1" / "result.json").unlink()
    plan = make_plan(study, folder)
    running = run_plan(plan, LocalWorkers())
    assert next(running).seed == 1
    with pytest.raises(InputError, match="Another process"):
        next(run_plan(plan, LocalWorkers()))
    assert len(list(running)) == 1
    assert make_plan(study, folder).tasks == ()


def test_an_interrupted_cell_goes_on_to_the_same_weights(
    recordings: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.training.SAVE_SECONDS", 0.0)
    study = small(recordings)
    plan = make_plan(study, tmp_path / "s")
    task = next(task for task in plan.tasks if task.method == "none" and task.seed == 0)

    def stopped(recipe: Any, folder: Path, device: str) -> Any:
        for number, event in enumerate(distil(recipe, folder, device)):
            if number == 1:
                raise KeyboardInterrupt
            yield event

    monkeypatch.setattr("distill.study_cell.distil", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_task(task)
    assert load_result(task.folder) is None
    monkeypatch.setattr("distill.study_cell.distil", distil)
    result = run_task(task)
    known = load_result(finished / task.folder.relative_to((tmp_path / "s").resolve()))
    assert known is not None
    assert result.weights_sha256 == known.weights_sha256
    assert result.curve_steps == known.curve_steps


# --- what a network computes ---------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_multiply_accumulates_are_those_of_the_exported_graph(name: str) -> None:
    network = UNet(PRESETS[name]).eval()
    assert macs_per_step(network) == lower(network).macs


# --- table and report ----------------------------------------------------------------------------


def planted(study: Study, effect: float) -> list[RunResult]:
    """Results in which `output` is better by ``effect`` in `same`, and as good in `narrow`."""
    results: list[RunResult] = []
    generator = torch.Generator().manual_seed(0)
    for cell in cells(study):
        better = effect if (cell.scenario, cell.method) == ("same", "output") else 0.0
        run_noise, items = torch.randn(1, generator=generator), torch.randn(20, generator=generator)
        scores = 5.0 + better + 0.1 * run_noise + 0.1 * items
        results.append(
            RunResult(
                kind=cell.kind,
                scenario=cell.scenario,
                method=cell.method,
                seed=cell.seed,
                key="",
                score_key="",
                parameters=1000,
                macs_per_step=500,
                macs_per_second=31250.0,
                steps=3,
                weights_sha256="same" if cell.kind == "identical" else str(len(results)),
                utterances=tuple(map(str, range(20))),
                scores={"si_sdr": tuple(scores.tolist())},
                curve_steps=(1, 2, 3),
                curve_si_sdr=(0.0, 1.0, 2.0),
                environment={"torch": "2"},
            )
        )
    return results


def test_findings_follow_the_verdicts(recordings: Path) -> None:
    study = small(recordings, seeds=5, noise_floor={"seeds": 3})
    findings = find(study, planted(study, 2.0), [])
    (metric,) = findings.metrics
    assert metric.comparisons["same", "output"].verdict == "better"
    assert metric.comparisons["narrow", "output"].verdict == "not distinguishable"
    assert findings.sentences == [
        "SI-SDR dB: output is better than none in 1 of 2 (same), "
        "not distinguishable from none in 1 of 2 (narrow)."
    ]
    assert (findings.determinism.repeated, findings.determinism.equal) == (1, 0)
    assert metric.floor is not None
    assert metric.floor.pairs == 6


def test_methods_are_compared_with_each_other_where_that_is_asked_for(recordings: Path) -> None:
    methods = {"none": None, "output": None, "other": {"method": "output", "weight": 2.0}}
    study = small(recordings, methods=methods, against=["other"], seeds=5)
    findings = find(study, planted(study, 2.0), [])
    (metric,) = findings.further
    assert metric.control == "other"
    assert set(metric.comparisons) == {("same", "output"), ("narrow", "output")}
    assert "output is better than other in 1 of 2 (same)" in findings.sentences[-1]


def test_an_incomplete_study_is_compared_over_the_seeds_both_have(recordings: Path) -> None:
    study = small(recordings, seeds=5)
    results = [
        result
        for result in planted(study, 2.0)
        if not (result.method == "output" and result.seed == 4)
    ]
    findings = find(study, results, [])
    assert findings.missing == 2
    assert findings.metrics[0].comparisons["same", "output"].seeds == 4


def test_the_table_gives_back_every_result(recordings: Path, tmp_path: Path) -> None:
    study = small(recordings)
    results = planted(study, 1.0)
    results[0] = results[0].model_copy(
        update={"scores": {"si_sdr": (None, *results[0].scores["si_sdr"][1:])}}
    )
    save_table(tmp_path / "t.parquet", results, ["si_sdr"], study.model_dump(mode="json"))
    assert load_table(tmp_path / "t.parquet") == results
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert len(rows) == len(results)
    assert rows[1]["mean_si_sdr"] == pytest.approx(sum(rows[1]["si_sdr"]) / 20)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not the table"):
        load_table(tmp_path / "t.parquet")


def test_the_command_writes_a_report_that_needs_nothing(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    file = tmp_path / "small.yaml"
    file.write_text(STUDY.replace("DATA", str(recordings)))
    done = CliRunner().invoke(command, [str(file), "-o", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["missing"] == 0
    assert content["determinism"] == {"repeated": 1, "equal": 1}
    assert [metric["metric"] for metric in content["metrics"]] == ["si_sdr"]
    markdown, html = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    for sentence in content["reading"]:
        assert sentence in markdown
        assert sentence in html
    assert html.count("<svg") == 2  # three steps make no learning curve
    assert "src=" not in html
    assert "](differences.svg)" in markdown
    assert "1 of 1 runs repeated without any change gave the same weights" in markdown
    # The same report from the table alone, without data, teacher or runs.
    shutil.rmtree(folder / "runs")
    again = CliRunner().invoke(command, [str(file), "-o", str(folder), "--report-only"])
    assert again.exit_code == 0, again.output
    assert (folder / "report.md").read_text() == markdown
    assert (folder / "report.html").read_text() == html


def test_a_failure_ends_in_status_1_with_the_report_written(
    recordings: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, file = tmp_path / "copy", tmp_path / "small.yaml"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "runs/narrow/output/1")
    file.write_text(STUDY.replace("DATA", str(recordings)))

    def fails(recipe: Any, folder: Path, device: str) -> Any:
        raise InputError("It broke.", hint="Mend it.")

    monkeypatch.setattr("distill.study_cell.distil", fails)
    assert run(command, "study", [str(file), "-o", str(folder)]) == 1
    assert "narrow / output / seed 1: It broke. Mend it." in (folder / "report.md").read_text()
    rows = pq.read_table(folder / "study.parquet").to_pylist()
    assert [row["error"] for row in rows if row["error"]] == ["It broke. Mend it."]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.yaml"], "No study"),
        (["demo-study", "--jobs", "2", "--dask", "tcp://127.0.0.1:1"], "exclude each other"),
        (["demo-study", "--report-only", "-o", "nowhere"], "not the table of a study"),
    ],
)
def test_wrong_usage_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command, "study", arguments) == 2
    assert said in capsys.readouterr().err


def test_no_scheduler_is_told_within_seconds(tmp_path: Path) -> None:
    workers = ClusterWorkers("tcp://127.0.0.1:1", tmp_path)
    begun = time.monotonic()
    with pytest.raises(InputError, match="No Dask scheduler answers"):
        list(workers.run(str, [1]))
    assert time.monotonic() - begun < 30


@pytest.mark.slow
def test_a_cluster_gives_what_one_process_gives(
    recordings: Path, finished: Path, tmp_path: Path
) -> None:
    from distributed import LocalCluster

    study = small(recordings, scenarios={"same": None}, seeds=1, noise_floor={"seeds": 0})
    folder = tmp_path / "cluster"
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        workers = ClusterWorkers(cluster.scheduler_address, folder)
        results = list(run_plan(make_plan(study, folder), workers))
    assert not [result.error for result in results if result.error]
    alone = first_weights(small(recordings), finished)
    for result in results:
        assert result.weights_sha256 == alone[result.kind, result.scenario, result.method]


@pytest.mark.slow
def test_ctrl_c_stops_the_workers_and_the_same_command_goes_on(
    recordings: Path, repository: Path, tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    longer = STUDY.replace("DATA", str(recordings)).replace("steps: 3", "steps: 12")
    file.write_text(longer.replace("seeds: 1, ", "seeds: 0, identical: false, "))
    arguments = [sys.executable, "-m", "sordino", "study", str(file), "-o", str(tmp_path / "s")]
    process = subprocess.Popen(
        [*arguments, "--jobs", "2"],
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("s/runs/*/*/*/result.json")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "goes on from here" in said
    assert "Traceback" not in said
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("s/runs/*/*/*/result.json")}
    again = subprocess.run(arguments, cwd=repository, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
