"""The card of a model that is to be shipped: from checkpoint, scores and models.toml."""

from __future__ import annotations

import csv
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from distill.checkpoint import RECORD, WEIGHTS, Checkpoint, load_checkpoint
from distill.corpus import Corpus
from distill.evaluation import Row
from distill.evaluation.material import Item
from distill.prepared import find_listing
from distill.recipe import Recipe
from distill.training_log import LOG
from distill.unet import UNet
from distill.work import macs_per_step
from export.counting import macs_per_frame, parameters_of
from export.subjects import features_example
from runtime.artefact import Artefact, ModelFile, sha256_of, sidecar_path
from runtime.figures import Figure
from runtime.metrics import mean_scores, metric_versions
from runtime.models.card import (
    ALL,
    ArtefactFiles,
    Condition,
    DataSource,
    ModelCard,
    Precision,
    Quality,
    QualityRow,
    Training,
)
from targets.errors import InputError

TEXTS = Path(__file__).with_name("models.toml")
CHECKPOINT = (WEIGHTS, RECORD, LOG)
PRECISIONS: dict[str, Precision] = {"tflite-int8": "int8", "tflite-int16x8": "int16x8"}
FEW = 20  # attributions of single recordings that a card can list
# What else scores depend on, beside the metrics' packages.
ENGINES = ("sordino", "torch", "ai-edge-litert")


def card_of(
    name: str,
    checkpoint: Checkpoint,
    corpus: tuple[Corpus, str],
    artefacts: Sequence[Artefact],
    quality: Quality,
    costs: Sequence[Figure],
) -> ModelCard:
    """The card of a model; ``corpus`` is what it was trained on, and where that lies.

    Raises InputError where models.toml says nothing of the model or of its data.
    """
    texts = tomllib.loads(TEXTS.read_text("utf-8"))
    if name not in texts["models"]:
        raise InputError(
            f"{TEXTS.name} says nothing of {name}.", hint=f"Known: {', '.join(texts['models'])}."
        )
    own = texts["models"][name]
    record, network = checkpoint.record, checkpoint.network
    contract = record.contract
    recipe = Recipe.model_validate(record.recipe)
    ahead = look_ahead(network)
    return ModelCard(
        name=name,
        purpose=own["purpose"],
        role="student" if artefacts else "teacher",
        licence=texts["licence"],
        parameters=parameters_of(network),
        macs_per_second=round(macs(network) * contract.steps_per_second),
        look_ahead_frames=ahead,
        algorithmic_delay_ms=None
        if ahead is None
        else contract.milliseconds(contract.algorithmic_delay + ahead * contract.hop),
        contract=contract,
        training=_training(checkpoint, recipe),
        data=tuple(_sources(recipe, *corpus, texts)),
        checkpoint=tuple(described(checkpoint.path / file) for file in CHECKPOINT),
        artefacts=tuple(
            ArtefactFiles(
                precision=PRECISIONS[artefact.sidecar.target],
                model=artefact.sidecar.model,
                sidecar=described(sidecar_path(artefact.path)),
            )
            for artefact in artefacts
        ),
        quality=(quality,),
        costs=tuple(costs),
        limits=(*own["limits"], *texts["limits"]),
    )


def described(path: Path) -> ModelFile:
    """Raises InputError for a file that is not there."""
    if not path.is_file():
        raise InputError(f"{path} is missing.", hint="A model ships with weights, record and log.")
    return ModelFile(file=path.name, bytes=path.stat().st_size, sha256=sha256_of(path))


def macs(network: UNet) -> int:
    """Multiply-accumulates per frame, of networks that do not stream as well."""
    if network.config.bottleneck == "bigru":
        return macs_per_frame(network, features_example(network.config.bins))
    return macs_per_step(network)


def look_ahead(network: UNet) -> int | None:
    """In frames; None where a network hears the whole recording."""
    return None if network.config.bottleneck == "bigru" else network.config.look_ahead


def quality_of(
    test_set: str, conditions: Mapping[str, Condition], rows: Sequence[Row], items: Sequence[Item]
) -> Quality:
    """Means of every row over all items and over those of each ratio, the lowest first."""
    groups: dict[str, list[int]] = {ALL: list(range(len(items)))}
    ordered = sorted(range(len(items)), key=lambda index: items[index].mixture.snr_db)
    for index in ordered:
        groups.setdefault(items[index].snr_bucket, []).append(index)
    versions = metric_versions(rows[0].metrics)
    return Quality(
        test_set=test_set,
        tools={**{name: metadata.version(name) for name in ENGINES}, **versions},
        rows=tuple(
            _means(conditions[row.name], group, row, chosen)
            for group, chosen in groups.items()
            for row in rows
        ),
    )


def _means(condition: Condition, group: str, row: Row, chosen: Sequence[int]) -> QualityRow:
    scores = mean_scores([row.items[index] for index in chosen])
    fields = set(QualityRow.model_fields) - {"condition", "items", "n"}
    return QualityRow(
        condition=condition,
        items=group,
        n=len(chosen),
        **{field: getattr(scores, field) for field in fields},
    )


def _training(checkpoint: Checkpoint, recipe: Recipe) -> Training:
    record = checkpoint.record
    _refuse_own_paths(record.recipe)
    teacher = _teacher(checkpoint, recipe)
    methods = recipe.distillation.methods
    told = ", ".join(f"{one.method} (weight {one.weight:g})" for one in methods)
    return Training(
        recipe=recipe.name,
        recipe_sha256=record.provenance["recipe_sha256"],
        seed=recipe.seed,
        method=f"{told}, {recipe.distillation.schedule}" if methods else "none",
        teacher=None if teacher is None else recipe.teacher.model or teacher.record.preset,
        teacher_sha256=None if teacher is None else teacher.sha256,
    )


def _teacher(checkpoint: Checkpoint, recipe: Recipe) -> Checkpoint | None:
    """The network that taught: the one that the recipe names, or that of the same run."""
    if not recipe.distillation.methods:
        return None
    return load_checkpoint(recipe.teacher.folder or checkpoint.path.parent / "teacher")


def _refuse_own_paths(recipe: object) -> None:
    """What is shipped names no places of the machine that it was trained on."""
    for text in _texts(recipe):
        if Path(text).is_absolute():
            raise InputError(
                f"The recipe of the checkpoint names {text}, which is a place of this machine.",
                hint="Train by relative paths, or with `teacher: {model: NAME}`.",
            )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _sources(
    recipe: Recipe, corpus: Corpus, place: str, texts: dict[str, Any]
) -> Iterator[DataSource]:
    """One line for each source of the training split and, where they were used, of responses."""
    rows = _listing(place)
    hours: dict[tuple[str, str], float] = defaultdict(float)
    licences: dict[tuple[str, str], set[str]] = defaultdict(set)
    named: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in corpus.clips:
        if clip.split != "train":
            continue
        row = rows.get(clip.name, {})
        key = clip.kind, row.get("source", corpus.name)
        hours[key] += clip.duration / 3600.0
        licences[key].add(clip.licence)
        if attribution := row.get("attribution"):
            named[key].add(attribution)
    for (kind, source), length in hours.items():
        told = _of_source(texts, source)["attribution"]
        recordists = sorted(named[kind, source])
        yield DataSource.model_validate(
            {
                "name": source,
                "kind": kind,
                "hours": round(length, 3),
                "licence": "; ".join(sorted(licences[kind, source])),
                "attribution": "; ".join([told, *recordists[: FEW * (len(recordists) <= FEW)]]),
                "changes": texts["changes"][kind],
            }
        )
    if recipe.mixing.rir_folder is not None:
        yield DataSource(
            name="RealRoomBRIRs",
            kind="room responses",
            hours=None,
            changes=texts["changes"]["room responses"],
            **_of_source(texts, "room responses"),
        )


def _of_source(texts: dict[str, Any], source: str) -> dict[str, str]:
    if source not in texts["sources"]:
        raise InputError(
            f"{TEXTS.name} does not attribute {source}.", hint="Add what its licence asks for."
        )
    found: dict[str, str] = texts["sources"][source]
    return found


def _listing(place: str) -> dict[str, dict[str, str]]:
    """Path of a recording → its row in the listing of prepared recordings; empty for others."""
    if place == "demo" or (Path(place).is_file() and not place.endswith(".csv")):
        return {}
    with find_listing(Path(place)).open(encoding="utf-8", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def card_json(card: ModelCard) -> bytes:
    """``card.json``."""
    record = card.model_dump(mode="json", by_alias=True)
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()
