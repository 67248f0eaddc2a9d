"""Training: learns, repeats itself, resumes to the same bytes, and refuses what it must."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from distill import road
from distill.checkpoint import load_checkpoint, save_checkpoint
from distill.cli import distill
from distill.corpus import Corpus
from distill.objective import Objective
from distill.recipe import Recipe, Training, parse_recipe
from distill.recipe import Teacher as TeacherSource
from distill.road import distil, evaluate_run
from distill.teachers import open_teacher
from distill.training import enhance, learning_rate, train
from distill.training_state import STATE
from distill.unet import UNet
from runtime.stft import FloatArray, StftContract
from targets.errors import InputError
from tests.distill.recordings import made_corpus
from tests.distill.tones import TonesInNoise, fresh_network

RECIPE = """
name: test
teacher:
  network: {widths: [6, 8], hidden: 12, patch: 8}
  training: {steps: 6, batch: 2}
student:
  network: {widths: [4, 4], hidden: 6, patch: 8}
  training: {steps: STEPS, batch: 2}
mixing: {seconds: 0.5}
evaluation: {items: 2, seconds: 2.0}
"""


def recipe(steps: int = 8, **changes: object) -> Recipe:
    return parse_recipe(RECIPE.replace("STEPS", str(steps)), "test").model_copy(update=changes)


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def test_a_network_learns_to_denoise(tmp_path: Path) -> None:
    objective = Objective(StftContract(), recipe().loss)
    plan = Training(steps=150, batch=4, learning_rate=5e-3)
    events = list(train(fresh_network(), objective, plan, TonesInNoise(), tmp_path, "run"))
    assert [event.step for event in events] == list(range(1, 151))
    assert events[-1].si_sdr > events[10].si_sdr + 3.0
    assert events[-1].loss < events[10].loss


def test_an_interrupted_run_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.training.SAVE_SECONDS", 0.0)
    objective = Objective(StftContract(), recipe().loss)
    plan = Training(steps=12, batch=2)
    whole = fresh_network()
    straight = list(train(whole, objective, plan, TonesInNoise(), tmp_path / "a", "run"))
    for event in train(fresh_network(), objective, plan, TonesInNoise(), tmp_path / "b", "run"):
        if event.step == 5:
            break
    torch.manual_seed(99)  # what is drawn now must not matter
    resumed = UNet(whole.config)
    rest = list(train(resumed, objective, plan, TonesInNoise(), tmp_path / "b", "run"))
    assert rest[0].step == 6
    assert rest[-1] == straight[-1]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_another_run_and_a_damaged_state_are_refused(tmp_path: Path) -> None:
    objective = Objective(StftContract(), recipe().loss)
    plan = Training(steps=2, batch=2)
    list(train(fresh_network(), objective, plan, TonesInNoise(), tmp_path, "run"))
    with pytest.raises(InputError, match="another run"):
        list(train(fresh_network(), objective, plan, TonesInNoise(), tmp_path, "other"))
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        list(train(fresh_network(), objective, plan, TonesInNoise(), tmp_path, "run"))


class NotNumbers(TonesInNoise):
    def rows(self, first: int, count: int) -> tuple[FloatArray, FloatArray]:
        noisy, clean = super().rows(first, count)
        return noisy * np.float32(np.nan), clean


def test_divergence_is_an_error_and_not_a_checkpoint(tmp_path: Path) -> None:
    objective = Objective(StftContract(), recipe().loss)
    with pytest.raises(InputError, match="diverged at step 1"):
        list(train(fresh_network(), objective, Training(steps=3), NotNumbers(), tmp_path, "run"))
    assert not (tmp_path / STATE).exists()


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    plan = Training(steps=100, learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(plan, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert 0.0 < rates[-1] < 0.001


def test_a_run_trains_all_networks_and_its_table_has_the_noisy_row(tmp_path: Path) -> None:
    roles = {event.role for event in distil(recipe(), tmp_path / "run")}
    assert roles == {"teacher", "control", "student"}
    for role in roles:
        checkpoint = load_checkpoint(tmp_path / "run" / role)
        assert checkpoint.record.role == role
        assert checkpoint.record.provenance["recipe_sha256"] == recipe().sha256
        assert not (tmp_path / "run" / role / STATE).exists()
    assert weights(tmp_path / "run" / "control") != weights(tmp_path / "run" / "student")
    rows = evaluate_run(recipe(), tmp_path / "run")
    assert [row.name for row in rows] == [
        "Noisy",
        "Teacher",
        "Student alone",
        "Student distilled",
    ]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert len(report["rows"][0]["items"]) == 2
    again = list(distil(recipe(), tmp_path / "run"))
    assert all(event.skipped for event in again)
    list(distil(recipe(), tmp_path / "again"))
    assert weights(tmp_path / "again" / "student") == weights(tmp_path / "run" / "student")


def test_a_given_teacher_is_used_and_not_trained(tmp_path: Path) -> None:
    first = recipe()
    list(distil(first, tmp_path / "first"))
    teacher = first.teacher.model_copy(update={"checkpoint": tmp_path / "first" / "teacher"})
    second = recipe(teacher=teacher, control=False)
    assert {event.role for event in distil(second, tmp_path / "second")} == {"student"}
    assert weights(tmp_path / "second" / "student") == weights(tmp_path / "first" / "student")
    list(distil(recipe(seed=1, control=False), tmp_path / "other"))
    (tmp_path / "first" / "teacher" / "weights.safetensors").write_bytes(
        weights(tmp_path / "other" / "teacher")
    )
    with pytest.raises(InputError, match="another recipe"):  # the same path, another teacher
        list(distil(second, tmp_path / "second"))


def test_a_teacher_is_opened_on_the_gpu_of_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cuda` means the GPU that a process was given when it was launched, the first one before."""
    list(distil(recipe(2, control=False), tmp_path / "first"))
    done: list[str] = []

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            done.append(name)
            return call(*arguments)

        return noting

    for name in ("launch", "open_teacher"):
        monkeypatch.setattr(f"distill.road.{name}", noted(name, getattr(road, name)))
    teacher = recipe().teacher.model_copy(update={"checkpoint": tmp_path / "first" / "teacher"})
    next(iter(distil(recipe(2, teacher=teacher), tmp_path / "second")))
    assert done.index("launch") < done.index("open_teacher")


def test_a_teacher_of_unknown_size_has_no_number_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(distil(recipe(2, control=False), tmp_path / "run"))
    teacher = open_teacher(
        TeacherSource(checkpoint=tmp_path / "run" / "teacher"), StftContract(), "cpu", None
    )
    monkeypatch.setattr(teacher, "parameters", None)
    monkeypatch.setattr("distill.road._given_teacher", lambda *_: teacher)
    rows = evaluate_run(recipe(2, control=False), tmp_path / "run")
    assert next(row.parameters for row in rows if row.name == "Teacher") is None


def _named(text: str) -> str:
    return f"name: t\n{text}" if text[0] != "{" else "{name: t, " + text[1:]


def _without_validation() -> Corpus:
    return Corpus("not valid", [clip for clip in made_corpus().clips if clip.split != "valid"])


def _two_voices() -> Corpus:
    return Corpus("two voices", [clip for clip in made_corpus(2).clips if clip.split == "train"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("student: {network: {hidden: 200}}", "An inverted bottleneck widens"),
        ("student: {network: {bins: 128}}", "network has 128 bins"),
        (
            "{contract: {bins: 128}, teacher: {network: {bins: 256}}}",
            "teacher's network has 256 bins, the contract 128",
        ),
        ("contract: {sample_rate: 8000}", "8000 Hz"),
        ("data: two-voices", "valid split of two voices has no speech"),
        (
            "{data: not-valid, student: {training: {steps: 9, validate_every: 3}}}",
            "valid split of not valid has no speech",
        ),
        (
            "{distillation: {method: relational}, student: {training: {steps: 9, batch: 2}}}",
            "relational compares 3 mixtures of a batch; each process and piece has 2",
        ),
        (
            "{distillation: {method: similarity},"
            " student: {training: {steps: 9, batch: 4, accumulate: 4}}}",
            "similarity compares 2 mixtures of a batch; each process and piece has 1",
        ),
    ],
)
def test_what_cannot_end_well_is_refused_before_any_training(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora = {
        "demo": made_corpus(),
        "two-voices": _two_voices(),
        "not-valid": _without_validation(),
    }
    monkeypatch.setattr("distill.road.open_corpus", lambda data: corpora[data])
    with pytest.raises(InputError, match=message):
        next(iter(distil(parse_recipe(_named(text), "test"), tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_a_batch_that_processes_cannot_divide_is_refused_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.road.world_size", lambda: 3)
    fitting = recipe().teacher.model_copy(update={"training": Training(steps=2, batch=3)})
    with pytest.raises(InputError, match="batch of 2 cannot be divided among 3 processes"):
        next(iter(distil(recipe(teacher=fitting), tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_weights_are_not_chosen_by_the_mixtures_of_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a corpus without a test split both are drawn from the validation split."""
    corpus = Corpus("no test", [clip for clip in made_corpus().clips if clip.split != "test"])
    assert corpus.held_out == "valid"
    monkeypatch.setattr("distill.road.open_corpus", lambda _: corpus)
    table = recipe().evaluation.model_copy(update={"items": 3, "seconds": road.VALIDATION_SECONDS})
    reported = road.evaluation_mixtures(recipe(evaluation=table))
    plan = Training(steps=2, validate_every=1, validation_items=3)
    chosen_by = road._validation(recipe(), corpus, plan)
    assert not any(np.array_equal(a.noisy, b.noisy) for a in reported for b in chosen_by)


def test_a_teacher_that_heard_other_spectra_guides_nevertheless(tmp_path: Path) -> None:
    list(distil(recipe(2, control=False), tmp_path / "first"))
    teacher = {"checkpoint": tmp_path / "first" / "teacher"}
    other = recipe(2).model_dump() | {"teacher": teacher, "contract": {"compression": 0.5}}
    events = list(distil(Recipe.model_validate(other), tmp_path / "second"))
    assert {event.role for event in events} == {"control", "student"}


def test_a_folder_in_which_nothing_was_trained_is_taken_over(tmp_path: Path) -> None:
    wrong = recipe(2, control=False)
    (tmp_path / "student").mkdir()
    (tmp_path / "recipe.json").write_text('{"run": "of a recipe that failed at once"}')
    list(distil(wrong, tmp_path))
    assert load_checkpoint(tmp_path).record.recipe == wrong.model_dump(mode="json")


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    list(distil(recipe(2, control=False), tmp_path))
    with pytest.raises(InputError, match="another recipe"):
        list(distil(recipe(3, control=False), tmp_path))
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        list(distil(recipe(2, control=False), tmp_path))


@pytest.mark.slow
def test_a_run_killed_in_every_stage_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "recipe.yaml"
    source.write_text(RECIPE.replace("STEPS", "40").replace("steps: 6", "steps: 40"))
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    program = (
        "import sys, distill.training as t; t.SAVE_SECONDS = 0.0; import torch;"
        "torch.set_num_threads(1); from distill.recipe import load_recipe;"
        "from distill.road import distil; from pathlib import Path\n"
        "for e in distil(load_recipe(sys.argv[1]), Path(sys.argv[2])): pass"
    )
    command = [sys.executable, "-c", program, str(source)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    roles = ("teacher", "control", "student")
    for role in roles:
        child = subprocess.Popen([*command, str(killed)], env=environment)
        state = killed / role / STATE
        deadline = time.monotonic() + 60
        while not state.exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        child.kill()
        child.wait()
        assert not (killed / role / "checkpoint.json").exists(), f"{role}: killed too late"
    for folder in (killed, straight):
        subprocess.run([*command, str(folder)], env=environment, check=True)
    for role in roles:
        for name in ("weights.safetensors", "checkpoint.json"):
            assert (killed / role / name).read_bytes() == (straight / role / name).read_bytes()


def test_ctrl_c_during_training_says_how_to_go_on(tmp_path: Path) -> None:
    source = tmp_path / "recipe.yaml"
    source.write_text(RECIPE.replace("STEPS", "100000"))
    command = [sys.executable, "-m", "distill", str(source), "-o", str(tmp_path / "run")]
    child = subprocess.Popen(
        [*command, "--threads", "1"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "control").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in stderr
    assert not list((tmp_path / "run").rglob("*.part"))
    assert (tmp_path / "run" / "teacher" / "checkpoint.json").is_file()


def test_a_student_that_will_not_stream_is_announced(tmp_path: Path) -> None:
    source = tmp_path / "recipe.yaml"
    text = RECIPE.replace("STEPS", "1").replace("hidden: 6", "hidden: 6, bottleneck: bigru")
    source.write_text(text + "distillation: {method: none}\n")
    result = CliRunner().invoke(distill, [str(source), "-o", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert "Lint, error: bottleneck" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["no-such-recipe"], ["demo", "--data", "/no/such/data"], ["demo", "--pairs", "/no/pairs"]],
)
def test_bad_arguments_are_input_errors(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(distill, [*arguments, "-o", str(tmp_path / "run")])
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_missing_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(distill, ["--device", "cuda", "-o", str(tmp_path / "run")])
    assert isinstance(result.exception, InputError)
    assert "CUDA" in result.exception.message
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_survives_the_round_trip_and_damage_is_noticed(tmp_path: Path) -> None:
    list(distil(recipe(2, control=False), tmp_path))
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.record.role == "student"
    noisy = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    save_checkpoint(tmp_path / "copy", checkpoint.network, checkpoint.record)
    copy = load_checkpoint(tmp_path / "copy")
    contract = checkpoint.record.contract
    assert np.array_equal(
        enhance(copy.network, contract, noisy), enhance(checkpoint.network, contract, noisy)
    )
    path = tmp_path / "copy" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "copy")
    with pytest.raises(InputError, match="No checkpoint"):
        load_checkpoint(tmp_path / "nothing")
