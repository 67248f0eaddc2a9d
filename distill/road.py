"""The distillation run: teacher, student alone, student distilled, and the closing table.

    RUN/recipe.json  teacher/  control/  student/  report.json

A stage whose checkpoint carries this run's identity is done and is skipped on resume.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch

from distill.checkpoint import CheckpointRecord, load_checkpoint, save_checkpoint
from distill.corpus import SAMPLE_RATE, Corpus, open_corpus
from distill.evaluation import Candidate, Row, checkpoint_candidate, evaluate, report
from distill.guidance import check_guidance, guide
from distill.lint import Finding, lint
from distill.mixing import Mixer, MixSettings, Mixture, evaluation_items
from distill.objective import Objective
from distill.pairs import paired_items
from distill.processes import Precision, is_first, launch, wait_for_all, world_size
from distill.recipe import Recipe, Training, resolve_network
from distill.recipe import Teacher as TeacherSource
from distill.teachers import Teacher, cache_folder, open_teacher
from distill.training import Progress, share_of_batch, train
from distill.training_state import STATE
from distill.unet import UNet, UNetConfig
from runtime.artefact import write_atomically
from targets.errors import InputError

Role = Literal["teacher", "control", "student"]
ROLES: tuple[Role, ...] = ("teacher", "control", "student")
TEACHER = "Teacher"
VALIDATION_SECONDS = 4.0
# Added to the seed: where a corpus has no test split both draw from the same recordings, and
# weights must not be chosen by the mixtures that they are reported on. ("vali")
VALIDATION_SEED = 0x76616C69


@dataclass(frozen=True)
class StageProgress:
    """Progress of a stage under its name for people; ``skipped`` when it was already complete."""

    role: Role
    title: str
    progress: Progress | None
    skipped: bool = False


@dataclass(frozen=True)
class _Stage:
    role: Role
    title: str
    preset: str
    network: UNetConfig
    training: Training
    start: Path | None = None  # checkpoint whose weights it begins with


def distil(
    recipe: Recipe, folder: Path, device: str = "cpu", tensorboard: bool = False
) -> Iterator[StageProgress]:
    """Run every stage of ``recipe`` in ``folder``, yielding after each training step.

    Raises InputError where the folder holds a run of another recipe, or where what the closing
    table needs is missing: better before hours of training than after.
    """
    corpus = open_corpus(recipe.data)
    # Processes that train together meet here, before files are written; and each is given the GPU
    # that it trains on, before a teacher is put there.
    launch(device)
    given = _given_teacher(recipe, folder, device)
    _check_ahead(recipe, corpus, given)
    identity = _identity(recipe, corpus, given)
    if is_first():
        _claim(folder, recipe, identity)
    wait_for_all()
    teacher = given
    for stage in _stages(recipe):
        path = folder / stage.role
        if _finished(path, identity):
            if is_first():
                (path / STATE).unlink(missing_ok=True)  # a kill may have come just before this
            yield StageProgress(stage.role, stage.title, None, skipped=True)
        else:
            network = _initialise(stage, recipe.seed)
            objective = Objective(recipe.contract, recipe.loss)
            if stage.role == "student" and teacher is not None:
                guidance = guide(recipe, network, teacher)
                objective = Objective(recipe.contract, recipe.loss, guidance)
            yield from _run_stage(
                recipe, corpus, stage, network, objective, path, identity, device, tensorboard
            )
        if stage.role == "teacher":
            teacher = open_teacher(
                TeacherSource(checkpoint=path), recipe.contract, device, recipe.teacher.cache
            )


def _given_teacher(recipe: Recipe, folder: Path, device: str) -> Teacher | None:
    """The teacher that the recipe names, where its methods need one."""
    source = recipe.teacher
    if not source.given or not recipe.distillation.methods:
        return None
    return open_teacher(source, recipe.contract, device, cache_folder(source, source.cache, folder))


def _check_ahead(recipe: Recipe, corpus: Corpus, given: Teacher | None) -> None:
    """Raise InputError for what would otherwise end the run after its first network."""
    stages = _stages(recipe)
    for stage in stages:
        if stage.network.bins != recipe.contract.bins:
            raise InputError(
                f"The {stage.role}'s network has {stage.network.bins} bins, "
                f"the contract {recipe.contract.bins}.",
                hint="Give both the same number of bins.",
            )
        share_of_batch(stage.training, world_size(), 0)
        if stage.training.validate_every:
            Mixer(corpus, "valid", MixSettings(), recipe.seed)
    if recipe.contract.sample_rate != SAMPLE_RATE:
        raise InputError(
            f"The contract's rate is {recipe.contract.sample_rate} Hz, corpora are read at "
            f"{SAMPLE_RATE} Hz.",
            hint="Leave sample_rate out of the recipe.",
        )
    student = _initialise(stages[-1], recipe.seed)
    if recipe.distillation.methods:
        if given is None:
            check_guidance(recipe, student, UNet(stages[0].network))
        else:
            guide(recipe, student, given)
    if recipe.evaluation.pairs is not None:
        paired_items(recipe.evaluation.pairs)
    else:
        Mixer(corpus, corpus.held_out, recipe.mixing, recipe.seed)


def _stages(recipe: Recipe) -> list[_Stage]:
    contract, student = recipe.contract, recipe.student
    stages = []
    distils = bool(recipe.distillation.methods)
    if distils and not recipe.teacher.given:
        name, network = resolve_network(recipe.teacher.network, contract)
        stages.append(_Stage("teacher", TEACHER, name, network, recipe.teacher.training))
    name, network = resolve_network(student.network, contract)
    start = student.folder
    if start is not None:
        record = load_checkpoint(start).record
        if record.contract != contract:
            raise InputError(
                f"The student in {start} was trained with another STFT contract.",
                hint="Copy the contract from its checkpoint.json into the recipe.",
            )
        name, network = record.preset, record.architecture
    if recipe.control and distils:
        control = _Stage("control", "Student alone", name, network, student.training)
        stages.append(replace(control, start=start))
    title = "Student distilled" if distils else "Student"
    stages.append(_Stage("student", title, name, network, student.training, start))
    return stages


def _run_stage(
    recipe: Recipe,
    corpus: Corpus,
    stage: _Stage,
    network: UNet,
    objective: Objective,
    path: Path,
    identity: str,
    device: str,
    tensorboard: bool,
) -> Iterator[StageProgress]:
    # The same mixtures in the same order for student and control: only the method differs.
    mixer = Mixer(corpus, "train", recipe.mixing, recipe.seed)
    precision: Precision = stage.training.precision
    for progress in train(
        *(network, objective, stage.training, mixer, path, f"{identity}/{stage.role}"),
        fabric=launch(device, precision),
        validation=_validation(recipe, corpus, stage.training),
        tensorboard=tensorboard,
    ):
        yield StageProgress(stage.role, stage.title, progress)
    if is_first():
        save_checkpoint(path, network, _record(recipe, corpus, stage, identity))
        (path / STATE).unlink(missing_ok=True)
    wait_for_all()


def _validation(recipe: Recipe, corpus: Corpus, plan: Training) -> list[Mixture]:
    if not plan.validate_every:
        return []
    count, seed = plan.validation_items, recipe.seed + VALIDATION_SEED
    return evaluation_items(corpus, "valid", count, VALIDATION_SECONDS, seed)


def _initialise(stage: _Stage, seed: int) -> UNet:
    """Initial weights that depend on the seed alone, or those of the checkpoint to begin with."""
    if stage.start is not None:
        return load_checkpoint(stage.start).network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(stage.network)


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


def _identity(recipe: Recipe, corpus: Corpus, given: Teacher | None) -> str:
    """What decides the weights of a run: recipe, data, and whatever it begins with."""
    identity = f"{recipe.training_sha256[:16]}-{corpus.fingerprint[:16]}"
    if given is not None:
        identity += f"-{given.key[:16]}"
    start = recipe.student.folder
    if start is not None:
        identity += f"-{load_checkpoint(start).sha256[:16]}"
    return identity


def _claim(folder: Path, recipe: Recipe, identity: str) -> None:
    """Mark ``folder`` as this recipe's."""
    claim = folder / "recipe.json"
    trained = any(any((folder / role).glob("*.safetensors")) for role in ROLES)
    if claim.is_file() and trained:
        if _claimed_by(claim) != identity:
            raise InputError(
                f"{folder} holds a run of another recipe or other data.",
                hint="Choose another folder with -o, or delete this one.",
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = {"run": identity, "recipe": recipe.model_dump(mode="json")}
    write_atomically(claim, (json.dumps(content, indent=2) + "\n").encode())


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


def lint_student(recipe: Recipe) -> list[Finding]:
    """What about the student will not stream or not quantize, layer by layer."""
    return lint(_initialise(_stages(recipe)[-1], recipe.seed))


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
    candidates = []
    given = _given_teacher(recipe, folder, device)
    if given is not None:
        candidates.append(Candidate(TEACHER, given.parameters, given.denoise))
    for stage in _stages(recipe):
        path = folder / stage.role
        candidates.append(checkpoint_candidate(path, stage.title, device))
    rows = evaluate(candidates, evaluation_mixtures(recipe), recipe.contract)
    text = json.dumps(report(rows), indent=1) + "\n"
    write_atomically(folder / "report.json", text.encode())
    return rows


def networks(recipe: Recipe, folder: Path) -> list[tuple[str, Path]]:
    """Names and checkpoint folders of every network of a run, the teacher first."""
    stages = [(stage.title, folder / stage.role) for stage in _stages(recipe)]
    given = recipe.teacher.folder
    if recipe.distillation.methods and given is not None:
        return [(TEACHER, given), *stages]
    return stages
