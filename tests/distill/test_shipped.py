"""Shipped models as teachers, as starts of students, and as what is evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill.checkpoint import load_checkpoint
from distill.evaluation import open_candidates
from distill.recipe import Recipe, parse_recipe
from distill.road import distil, evaluate_run, networks
from distill.study import parse_study
from distill.study_cell import run_task
from distill.study_runs import make_plan
from export.subjects import subjects
from targets.errors import InputError
from tests.distill.test_evaluation import save_tiny
from tests.runtime.stand_in import stand_in

RECIPE = """
name: t
teacher: {model: teacher}
student: {network: {widths: [4, 4], hidden: 6, patch: 8}, training: {steps: 2, batch: 2}}
distillation: {method: cosine-latent}
mixing: {seconds: 0.5}
evaluation: {items: 2, seconds: 1.0}
"""


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models teacher and mcu, both an untrained network."""
    save_tiny(tmp_path / "weights")
    for name in ("mcu", "teacher"):
        stand_in(tmp_path / "shipped", name, tmp_path / "weights")
    monkeypatch.setattr("runtime.models.shipped.ROOT", tmp_path / "shipped")
    monkeypatch.setattr("distill.evaluation.scoring.os.cpu_count", lambda: 1)
    return tmp_path / "shipped"


def recipe(text: str = RECIPE) -> Recipe:
    return parse_recipe(text, "test")


def identity(folder: Path) -> str:
    return str(json.loads((folder / "recipe.json").read_text())["run"])


def test_a_shipped_teacher_teaches_and_stands_in_the_table(shipped: Path, tmp_path: Path) -> None:
    events = list(distil(recipe(), tmp_path / "run"))
    assert {event.role for event in events} == {"control", "student"}
    names = ["Teacher", "Student alone", "Student distilled"]
    assert [row.name for row in evaluate_run(recipe(), tmp_path / "run")] == ["Noisy", *names]
    listed = networks(recipe(), tmp_path / "run")
    assert [name for name, _ in listed] == names
    assert listed[0][1] == shipped / "teacher"


def test_a_budget_knows_a_shipped_teacher(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(RECIPE)
    student, teacher = subjects(str(tmp_path / "my.yaml"))
    assert (student.role, teacher.role) == ("student", "teacher")
    assert str(shipped / "teacher") in teacher.name


STUDY = """
name: small
base:
  teacher: {model: teacher}
  student: {network: {widths: [4, 4], hidden: 6, patch: 8}, training: {steps: 2, batch: 2}}
  mixing: {seconds: 0.5}
scenarios: {same: }
methods: {none: , cosine-latent: {method: cosine-latent}}
metrics: [si-sdr]
evaluation: {items: 2, seconds: 0.6}
noise_floor: {seeds: 0}
"""


def test_a_study_scores_and_uses_a_shipped_teacher(shipped: Path, tmp_path: Path) -> None:
    plan = make_plan(parse_study(STUDY, "test"), tmp_path / "study")
    assert plan.first == ()  # no teacher is to be trained
    results = {task.method: run_task(task) for task in plan.tasks if task.seed == 0}
    assert {result.error for result in results.values()} == {""}
    assert results["teacher"].weights_sha256 == load_checkpoint(shipped / "teacher").sha256


def test_the_run_is_that_of_a_checkpoint_with_the_same_weights(
    shipped: Path, tmp_path: Path
) -> None:
    list(distil(recipe(), tmp_path / "named"))
    path = RECIPE.replace("model: teacher", f"checkpoint: {tmp_path / 'weights'}")
    list(distil(recipe(path), tmp_path / "path"))
    assert identity(tmp_path / "named") == identity(tmp_path / "path")
    list(distil(recipe(path), tmp_path / "named"))  # the same run: nothing is refused


def test_an_unknown_or_damaged_teacher_ends_the_run_before_it_begins(
    shipped: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no shipped model 'teachr'") as caught:
        list(distil(recipe(RECIPE.replace("model: teacher", "model: teachr")), tmp_path / "run"))
    assert "mcu, teacher" in caught.value.hint
    weights = shipped / "teacher" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match="not what was shipped"):
        list(distil(recipe(), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_student_may_begin_with_shipped_weights(shipped: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("student: {", "student: {model: mcu, ")
    list(distil(recipe(text + "control: false\n"), tmp_path / "run"))
    trained = load_checkpoint(tmp_path / "run").record
    assert trained.preset == "t"  # the sizes are those of the shipped network
    assert identity(tmp_path / "run").count("-") == 3  # recipe, data, teacher, start


def test_shipped_models_are_evaluated_by_name(shipped: Path) -> None:
    (student,) = open_candidates(Path("mcu"))
    (teacher,) = open_candidates(Path("teacher"))
    assert (student.name, student.parameters) == ("tiny-tflite-int8.tflite", 25)
    assert teacher.name == "teacher"
    assert teacher.parameters != 25  # the network itself, of which no artefact is shipped


def test_the_data_of_a_shipped_teacher_is_that_of_its_student(
    shipped: Path, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "taught", recipe={"teacher": {"model": "teacher"}})
    save_tiny(tmp_path / "orphan", recipe={"teacher": {"model": "gone"}})
    (taught,) = open_candidates(tmp_path / "taught")
    (orphan,) = open_candidates(tmp_path / "orphan")
    assert [data.data for data in taught.trained_on or ()] == ["demo", "demo"]
    assert [data.corpus for data in orphan.trained_on or ()][1] == "its teacher gone"
