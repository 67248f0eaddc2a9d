"""The distillation run: teacher, student alone, student distilled, and the closing table.

    RUN/recipe.json  teacher/  control/  student/  report.json

A stage whose checkpoint carries this run's identity is done and is skipped on resume.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from distill.checkpoint import Checkpoint, CheckpointRecord, load_checkpoint, save_checkpoint
from distill.corpus import SAMPLE_RATE, Corpus, open_corpus
from distill.evaluation import Row, checkpoint_candidate, evaluate, report
from distill.methods import METHODS
from distill.mixing import Mixer, Mixture, evaluation_items, paired_items
from distill.recipe import Recipe, Training, resolve_network
from distill.training import STATE, Objective, Progress, train
from distill.unet import UNet, UNetConfig
from runtime.artefact import write_atomically
from targets.errors import InputError

Role = Literal["teacher", "control", "student"]
TITLES: dict[Role, str] = {
    "teacher": "Teacher",
    "control": "Student alone",
    "student": "Student distilled",
}


@dataclass(frozen=True)
class StageProgress:
    """Progress of the named stage; ``skipped`` when it was already complete."""

    role: Role
    progress: Progress | None
    skipped: bool = False


@dataclass(frozen=True)
class _Stage:
    role: Role
    preset: str
    network: UNetConfig
    training: Training


def distil(recipe: Recipe, folder: Path, device: str = "cpu") -> Iterator[StageProgress]:
    """Run every stage of ``recipe`` in ``folder``, yielding after each training step.

    Raises InputError where the folder holds a run of another recipe, or where what the closing
    table needs is missing: better before hours of training than after.
    """
    corpus = open_corpus(recipe.data)
    given = _given_teacher(recipe)
    _check_ahead(recipe, corpus, given)
    identity = _claim(folder, recipe, corpus, given)
    teacher = None if given is None else given.network.to(device)
    for stage in _stages(recipe):
        path = folder / stage.role
        if _finished(path, identity):
            yield StageProgress(stage.role, None, skipped=True)
        else:
            yield from _run_stage(recipe, corpus, stage, teacher, path, identity, device)
        if stage.role == "teacher":
            teacher = load_checkpoint(path).network.to(device)


def _given_teacher(recipe: Recipe) -> Checkpoint | None:
    """The teacher that the recipe names, where its method needs one."""
    path = recipe.teacher.checkpoint
    return None if path is None or recipe.distillation.method == "none" else load_checkpoint(path)


def _check_ahead(recipe: Recipe, corpus: Corpus, given: Checkpoint | None) -> None:
    """Raise InputError for what would otherwise end the run after its first network."""
    stages = _stages(recipe)
    for stage in stages:
        if stage.network.bins != recipe.contract.bins:
            raise InputError(
                f"The {stage.role}'s network has {stage.network.bins} bins, "
                f"the contract {recipe.contract.bins}.",
                hint="Give both the same number of bins.",
            )
    if recipe.contract.sample_rate != SAMPLE_RATE:
        raise InputError(
            f"The contract's rate is {recipe.contract.sample_rate} Hz, corpora are read at "
            f"{SAMPLE_RATE} Hz.",
            hint="Leave sample_rate out of the recipe.",
        )
    if given is not None and given.record.contract != recipe.contract:
        raise InputError(
            f"The teacher in {given.path} was trained with another STFT contract.",
            hint="Copy the contract from its checkpoint.json into the recipe, or train a teacher.",
        )
    build = METHODS[recipe.distillation.method]
    if build is not None:
        teacher = stages[0].network if given is None else given.record.architecture
        build(stages[-1].network.hidden, teacher.hidden)
    if recipe.evaluation.pairs is not None:
        paired_items(recipe.evaluation.pairs)
    else:
        Mixer(corpus, corpus.held_out, recipe.mixing, recipe.seed)


def _stages(recipe: Recipe) -> list[_Stage]:
    stages = []
    distils = recipe.distillation.method != "none"
    if distils and recipe.teacher.checkpoint is None:
        stages.append(
            _Stage("teacher", *resolve_network(recipe.teacher.network), recipe.teacher.training)
        )
    student = (*resolve_network(recipe.student.network), recipe.student.training)
    if recipe.control and distils:
        stages.append(_Stage("control", *student))
    stages.append(_Stage("student", *student))
    return stages


def _run_stage(
    recipe: Recipe,
    corpus: Corpus,
    stage: _Stage,
    teacher: UNet | None,
    path: Path,
    identity: str,
    device: str,
) -> Iterator[StageProgress]:
    network = _initialise(stage.network, recipe.seed).to(device)
    objective = Objective(recipe.contract, recipe.loss)
    if stage.role == "student" and teacher is not None:
        build = METHODS[recipe.distillation.method]
        assert build is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            method = build(stage.network.hidden, teacher.config.hidden)
        objective = Objective(
            recipe.contract, recipe.loss, teacher.eval(), method, recipe.distillation.weight
        )
    # The same mixtures in the same order for student and control: only the method differs.
    mixer = Mixer(corpus, "train", recipe.mixing, recipe.seed)
    for progress in train(
        network, objective, stage.training, mixer, path, f"{identity}/{stage.role}"
    ):
        yield StageProgress(stage.role, progress)
    save_checkpoint(path, network, _record(recipe, corpus, stage, identity))
    (path / STATE).unlink(missing_ok=True)


def _initialise(config: UNetConfig, seed: int) -> UNet:
    """Initial weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(config)


def _record(recipe: Recipe, corpus: Corpus, stage: _Stage, identity: str) -> CheckpointRecord:
    return CheckpointRecord(
        role=stage.role,
        preset=stage.preset,
        architecture=stage.network,
        contract=recipe.contract,
        data=recipe.data,
        recipe=recipe.model_dump(mode="json"),
        provenance={
            "run": identity,
            "recipe_sha256": recipe.sha256,
            "corpus": corpus.name,
            "corpus_sha256": corpus.fingerprint,
            "torch": version("torch"),
            **{f"licence:{name}": licence for name, licence in corpus.licences.items()},
        },
    )


def _claim(folder: Path, recipe: Recipe, corpus: Corpus, given: Checkpoint | None) -> str:
    """Mark ``folder`` as this recipe's; returns the run's identity."""
    identity = f"{recipe.training_sha256[:16]}-{corpus.fingerprint[:16]}"
    if given is not None:
        identity += f"-{given.sha256[:16]}"
    claim = folder / "recipe.json"
    trained = any(any((folder / role).glob("*.safetensors")) for role in TITLES)
    if claim.is_file() and trained:
        if _claimed_by(claim) != identity:
            raise InputError(
                f"{folder} holds a run of another recipe or other data.",
                hint="Choose another folder with -o, or delete this one.",
            )
        return identity
    folder.mkdir(parents=True, exist_ok=True)
    content = {"run": identity, "recipe": recipe.model_dump(mode="json")}
    write_atomically(claim, (json.dumps(content, indent=2) + "\n").encode())
    return identity


def _claimed_by(claim: Path) -> object:
    """The identity in ``recipe.json``. Raises InputError where the file is damaged."""
    try:
        return json.loads(claim.read_text("utf-8"))["run"]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{claim} is damaged.", hint="Choose another folder with -o, or delete this one."
        ) from error


def _finished(path: Path, identity: str) -> bool:
    if not (path / "checkpoint.json").is_file():
        return False
    return load_checkpoint(path).record.provenance.get("run") == identity


def evaluation_mixtures(recipe: Recipe) -> list[Mixture]:
    """The held-out items of the closing table."""
    if recipe.evaluation.pairs is not None:
        return paired_items(recipe.evaluation.pairs)
    corpus = open_corpus(recipe.data)
    return evaluation_items(
        corpus, corpus.held_out, recipe.evaluation.items, recipe.evaluation.seconds, recipe.seed
    )


def evaluate_run(recipe: Recipe, folder: Path, device: str = "cpu") -> list[Row]:
    """Score noisy, teacher, control and student on the held-out items; writes ``report.json``."""
    candidates = [
        checkpoint_candidate(path, name, device) for name, path in networks(recipe, folder)
    ]
    rows = evaluate(candidates, evaluation_mixtures(recipe), recipe.contract)
    text = json.dumps(report(rows), indent=1) + "\n"
    write_atomically(folder / "report.json", text.encode())
    return rows


def networks(recipe: Recipe, folder: Path) -> list[tuple[str, Path]]:
    """Names and checkpoint folders of every network of a run, the teacher first."""
    stages = [(TITLES[stage.role], folder / stage.role) for stage in _stages(recipe)]
    given = recipe.teacher.checkpoint
    if recipe.distillation.method != "none" and given is not None:
        return [(TITLES["teacher"], given), *stages]
    return stages
