"""One run of a study, as a worker does it: train the student, score it, say what came out."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path

import torch

from distill.checkpoint import (
    RECORD,
    Checkpoint,
    CheckpointRecord,
    load_checkpoint,
    save_checkpoint,
)
from distill.corpus import FloatArray, open_corpus
from distill.evaluation.material import Item, corpus_material, paired_material
from distill.recipe import Evaluation, Recipe, resolve_network
from distill.road import distil
from distill.study import NOISY
from distill.study_result import Kind, RunResult, save_result
from distill.teachers import open_teacher
from distill.training import enhance
from distill.training_log import LOG
from distill.unet import UNet
from distill.work import macs_per_step
from runtime.artefact import write_atomically
from runtime.metrics import columns_of, metric_versions, score_many
from targets.errors import SordinoError

KEY = "key.txt"  # in a run's folder: what the weights there were made from
ERROR = "error.txt"
OTHER_WEIGHTS = 1_000_003  # added to the seed for the initial weights of a repeated run
Denoise = Callable[[FloatArray], FloatArray]

# torch's generator and thread count belong to the process: cells that a cluster starts in several
# threads of one worker take turns.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Task:
    """What a worker needs for one row of the table; ``folder`` is where its run lives.

    ``key`` identifies what decides the weights, ``score_key`` what they are scored on.
    ``evaluation`` names the held-out items, the same for every task of a study.
    """

    kind: Kind
    scenario: str
    method: str
    seed: int
    recipe: Recipe
    folder: Path
    key: str
    score_key: str
    metrics: tuple[str, ...]
    evaluation: Evaluation
    threads: int
    device: str

    @property
    def trains(self) -> bool:
        """Whether a network of ours is trained; else a reference is only scored."""
        return self.kind != "reference" or not (self.method == NOISY or self.recipe.teacher.given)


def run_task(task: Task) -> RunResult:
    """Do one task and keep its result in its folder; what fails is said in the result.

    A run that was interrupted goes on from its last saved step; one whose key has changed starts
    afresh, and one whose weights are there is only scored.
    """
    with _one_at_a_time, _arithmetic(task.threads):
        try:
            result = _train_and_score(task)
        except SordinoError as error:
            return _failed(task, f"{error.message} {error.hint}".strip())
        except Exception as error:
            # A defect in one cell must not lose the others: it is reported at the end.
            return _failed(task, f"{type(error).__name__}: {error}")
    (task.folder / ERROR).unlink(missing_ok=True)
    save_result(task.folder, result)
    return result


@contextmanager
def _arithmetic(threads: int) -> Iterator[None]:
    """The same number of torch threads wherever a task runs, as sums depend on it; and no
    denormal numbers, which are slow."""
    before, flushed = torch.get_num_threads(), sys.float_info.min / 2.0 == 0.0
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


def _failed(task: Task, error: str) -> RunResult:
    task.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(task.folder / ERROR, traceback.format_exc().encode())
    return _result(task, error=error)


def _result(task: Task, **content: object) -> RunResult:
    described = {
        "kind": task.kind,
        "scenario": task.scenario,
        "method": task.method,
        "seed": task.seed,
        "key": task.key,
        "score_key": task.score_key,
        "environment": environment(task),
    }
    return RunResult.model_validate(described | content)


def _train_and_score(task: Task) -> RunResult:
    denoise, made = _denoiser(task)
    begun = time.perf_counter()
    items = held_out(task.recipe.data, task.evaluation)
    pairs = [(item.mixture.clean, denoise(item.mixture.noisy)) for item in items]
    scored = score_many(pairs, task.recipe.contract.sample_rate, metrics=task.metrics)
    fields = [column.field for column in columns_of(task.metrics)]
    return _result(
        task,
        **made,
        utterances=tuple(item.name for item in items),
        snr_db=tuple(item.mixture.snr_db for item in items),
        noise=tuple(item.noise_type for item in items),
        scores={field: tuple(getattr(one, field) for one in scored) for field in fields},
        scoring_seconds=time.perf_counter() - begun,
    )


def _denoiser(task: Task) -> tuple[Denoise, dict[str, object]]:
    """What is to be scored, trained first where it must be, and what there is to say of it."""
    if task.trains:
        checkpoint, made = _trained(task)
        network = checkpoint.network.to(task.device)
        return partial(enhance, network, checkpoint.record.contract), made
    if task.method == NOISY:
        return _untouched, {}
    source = task.recipe.teacher
    teacher = open_teacher(source, task.recipe.contract, task.device, None)
    folder = source.folder
    if folder is not None:
        return teacher.denoise, described(load_checkpoint(folder))
    return teacher.denoise, {"parameters": teacher.parameters}


def _untouched(noisy: FloatArray) -> FloatArray:
    return noisy


def _trained(task: Task) -> tuple[Checkpoint, dict[str, object]]:
    """The trained network of a task and what there is to say of its making."""
    _claim(task)
    recipe = task.recipe
    if task.kind == "initialisation":
        start = _other_start(recipe, task.folder / "start")
        student = recipe.student.model_copy(update={"checkpoint": start})
        recipe = recipe.model_copy(update={"student": student})
    for _ in distil(recipe, task.folder, task.device):
        pass
    checkpoint = load_checkpoint(task.folder)
    return checkpoint, {
        **described(checkpoint),
        "recipe_sha256": recipe.sha256,
        **_logged(task.folder / "student" / LOG),
    }


def _claim(task: Task) -> None:
    """Clear the folder of what another key made there."""
    marker = task.folder / KEY
    if task.folder.is_dir():
        if marker.is_file() and marker.read_text("utf-8").strip() == task.key:
            return
        shutil.rmtree(task.folder)
    task.folder.mkdir(parents=True)
    write_atomically(marker, f"{task.key}\n".encode())


def _other_start(recipe: Recipe, folder: Path) -> Path:
    """A checkpoint of untrained weights that are not those of the recipe's seed."""
    if not (folder / RECORD).is_file():
        name, config = resolve_network(recipe.student.network, recipe.contract)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed + OTHER_WEIGHTS)
            network = UNet(config)
        record = CheckpointRecord(
            role="student",
            preset=name,
            architecture=config,
            contract=recipe.contract,
            data=recipe.data,
            recipe={},
        )
        save_checkpoint(folder, network, record)
    return folder


def described(checkpoint: Checkpoint) -> dict[str, object]:
    """Size and work of a network."""
    contract, macs = checkpoint.record.contract, macs_per_step(checkpoint.network)
    return {
        "parameters": sum(p.numel() for p in checkpoint.network.parameters()),
        "macs_per_step": macs,
        "macs_per_second": macs * contract.sample_rate / contract.hop,
        "weights_sha256": checkpoint.sha256,
    }


def _logged(path: Path) -> dict[str, object]:
    """Steps, seconds, final loss and the curve of SI-SDR (training mixtures, smoothed, dB)."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "steps": int(rows[-1]["step"]),
        "training_seconds": float(rows[-1]["seconds"]),
        "final_loss": float(rows[-1]["loss"]),
        "curve_steps": tuple(int(row["step"]) for row in rows),
        "curve_si_sdr": tuple(float(row["si_sdr_db"]) for row in rows),
    }


@lru_cache(maxsize=2)
def held_out(data: str, evaluation: Evaluation) -> Sequence[Item]:
    """The items every run of a study is scored on: the same whatever seed it has."""
    if evaluation.pairs is not None:
        return paired_material(evaluation.pairs)
    corpus = open_corpus(data)
    return corpus_material(corpus, corpus.held_out, evaluation.items, evaluation.seconds, 0)


def environment(task: Task) -> dict[str, str]:
    """What else numbers may depend on."""
    on_gpu = task.device == "cuda" and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": str(os.cpu_count()),
        "threads": str(task.threads),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        **{package: version(package) for package in ("torch", "numpy", "scipy")},
        **metric_versions(task.metrics),
    }
