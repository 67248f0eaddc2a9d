"""Running a study: what is still to be done, on this machine or on a cluster, in any order.

STUDY/study.json  study.parquet  report.md  report.html
      runs/SCENARIO/METHOD/SEED/   result.json, student/, key.txt
      teachers/KEY/                a teacher that the recipe has trained first
      references/                  scores of the noisy input and of the teachers
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from distill.checkpoint import load_checkpoint
from distill.corpus import open_corpus
from distill.pairs import paired_items
from distill.recipe import Distillation, Recipe, Student, Teacher
from distill.study import NOISY, RUNS, TEACHER, Cell, Study, base_recipe, cells
from distill.study_cell import Task, run_task
from distill.study_result import TABLE, RunResult, load_result, load_table
from distill.study_workers import Workers
from distill.teachers import open_teacher
from runtime.artefact import sha256_of, write_atomically
from targets.errors import InputError

FORMAT = 1  # of results: another one makes every cell run again
CLAIM = "study.json"
LOCK = ".lock"


@dataclass(frozen=True)
class Plan:
    """Tasks whose results are there, and those to be done: in ``first`` the teachers.

    ``changed`` counts those of the latter that were done before under other settings.
    """

    folder: Path
    done: tuple[RunResult, ...]
    first: tuple[Task, ...]
    tasks: tuple[Task, ...]
    changed: int


def make_plan(study: Study, folder: Path) -> Plan:
    """What is left of ``study`` in ``folder``.

    Raises InputError where the folder holds another study, or where data or teacher are missing.
    """
    folder = folder.resolve()
    _claim(study, folder)
    grid = _Grid(study, folder)
    done: list[RunResult] = []
    first: list[Task] = []
    tasks: list[Task] = []
    changed = 0
    for task in grid.tasks():
        result = load_result(task.folder)
        if result is not None and (result.key, result.score_key) == (task.key, task.score_key):
            done.append(result)
            continue
        changed += result is not None
        (first if task.method == TEACHER and task.trains else tasks).append(task)
    return Plan(folder, tuple(done), tuple(first), tuple(tasks), changed)


def run_plan(plan: Plan, workers: Workers) -> Iterator[RunResult]:
    """Do the tasks that are left, yielding each result as it comes: teachers before all else.

    A failed task yields a result with an error; students of a teacher that failed fail with it.
    Raises InputError while another process runs a study in the same folder.
    """
    with _alone_in(plan.folder):
        for tasks in (plan.first, plan.tasks):
            if tasks:
                with closing(workers.run(run_task, tasks)) as results:
                    yield from results


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system lifts when this process ends, however it does."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another process runs a study in {folder}.",
                hint="Wait for it; --report-only shows what it has so far.",
            ) from error
        yield


def recorded(study: Study, folder: Path) -> list[RunResult]:
    """The results for cells of this study, in the order of the grid.

    They are read from the runs in ``folder`` or, where there are none, from its table: a report
    can so be written again where neither the data nor the teacher are. Raises InputError where
    there is no result at all.
    """
    if (folder / RUNS).is_dir():
        found = []
        for task in _Grid(study, folder.resolve()).tasks():
            result = load_result(task.folder)
            if result is not None and (result.key, result.score_key) == (task.key, task.score_key):
                found.append(result)
    else:
        found = [result for result in load_table(folder / TABLE) if not result.error]
    if not found:
        raise InputError(
            f"There is no result of study {study.name} in {folder}.",
            hint="Leave out --report-only.",
        )
    return found


def _claim(study: Study, folder: Path) -> None:
    """Mark ``folder`` as this study's; its settings may change, its name may not."""
    claim = folder / CLAIM
    if claim.is_file():
        try:
            name = json.loads(claim.read_text("utf-8"))["name"]
        except (ValueError, LookupError, TypeError):
            name = None
        if name != study.name:
            raise InputError(
                f"{folder} holds the study {name or 'of a damaged study.json'}.",
                hint="Choose another folder with -o.",
            )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(study.model_dump(mode="json"), indent=2) + "\n"
    write_atomically(claim, text.encode())


class _Grid:
    """The tasks of a study with their keys; what they share is hashed once."""

    def __init__(self, study: Study, folder: Path) -> None:
        self._study, self._folder = study, folder
        self._base = base_recipe(study)
        self._fingerprint = open_corpus(self._base.data).fingerprint
        self._scored = self._score_key()
        self._keys: dict[str, str] = {}

    def tasks(self) -> Iterator[Task]:
        """References first: a teacher to be trained is one of them."""
        grid = list(cells(self._study))
        yield self._reference(NOISY, "", self._base, "noisy")
        references: dict[Path, Task] = {}
        taught: list[tuple[Cell, Recipe]] = []
        for cell in grid:
            reference = self._teacher(cell)
            if reference is None:
                # The control does without: another teacher changes nothing about its runs.
                recipe = cell.recipe.model_copy(update={"teacher": Teacher()})
            else:
                references.setdefault(reference.folder, reference)
                recipe = _taught_by(cell.recipe, reference)
            taught.append((cell, recipe))
        yield from references.values()
        for cell, recipe in taught:
            yield self._task(cell, recipe)

    def _task(self, cell: Cell, recipe: Recipe) -> Task:
        reference = self._teacher(cell)
        teacher = "" if reference is None else reference.key
        parts = [recipe.training_sha256, self._fingerprint, cell.kind, self._start(recipe)]
        return Task(
            kind=cell.kind,
            scenario=cell.scenario,
            method=cell.method,
            seed=cell.seed,
            recipe=recipe,
            folder=self._folder / cell.place,
            key=_hash([FORMAT, *parts, teacher]),
            score_key=self._scored,
            metrics=self._study.metrics,
            evaluation=self._base.evaluation,
            threads=self._study.threads,
            device=self._study.device,
        )

    def _start(self, recipe: Recipe) -> str:
        start = recipe.student.folder
        return "" if start is None else load_checkpoint(start).sha256

    def _teacher(self, cell: Cell) -> Task | None:
        """The task that scores, and if need be trains, the teacher of a cell."""
        recipe = cell.recipe
        if not recipe.distillation.methods:
            return None
        if recipe.teacher.given:
            key = self._given_key(recipe)
            task = self._reference(TEACHER, cell.scenario, recipe, f"teacher-{key[:12]}")
            return replace(task, key=_hash([FORMAT, key]))
        trained = recipe.model_copy(
            update={
                "name": f"{self._study.name}.teacher",
                "seed": self._base.seed,
                "student": Student(
                    network=recipe.teacher.network, training=recipe.teacher.training
                ),
                "teacher": Teacher(),
                "distillation": Distillation(methods=()),
            }
        )
        key = _hash([FORMAT, trained.training_sha256, self._fingerprint])
        task = self._reference(TEACHER, cell.scenario, trained, "")
        return replace(task, key=key, folder=self._folder / "teachers" / key[:16])

    def _given_key(self, recipe: Recipe) -> str:
        named = recipe.teacher.model_dump_json() + recipe.contract.model_dump_json()
        if named not in self._keys:
            teacher = open_teacher(recipe.teacher, recipe.contract, "cpu", None)
            self._keys[named] = teacher.key
        return self._keys[named]

    def _reference(self, method: str, scenario: str, recipe: Recipe, place: str) -> Task:
        return Task(
            kind="reference",
            scenario=scenario,
            method=method,
            seed=self._base.seed,
            recipe=recipe,
            folder=self._folder / "references" / place,
            key=_hash([FORMAT, method]),
            score_key=self._scored,
            metrics=self._study.metrics,
            evaluation=self._base.evaluation,
            threads=self._study.threads,
            device=self._study.device,
        )

    def _score_key(self) -> str:
        evaluation = self._base.evaluation
        items: object = [evaluation.items, evaluation.seconds, self._fingerprint]
        if evaluation.pairs is not None:
            paired_items(evaluation.pairs)  # missing partners are told before the first run
            files = sorted(evaluation.pairs.glob("*/*"))
            items = [(f"{file.parent.name}/{file.name}", sha256_of(file)) for file in files]
        return _hash([FORMAT, items, list(self._study.metrics)])


def _taught_by(recipe: Recipe, reference: Task) -> Recipe:
    """The recipe with its teacher's checkpoint in place of a teacher to be trained."""
    if not reference.trains:
        return recipe
    teacher = recipe.teacher.model_copy(update={"checkpoint": reference.folder})
    return recipe.model_copy(update={"teacher": teacher})


def _hash(content: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
