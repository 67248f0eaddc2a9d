"""Stand-ins for shipped models: a folder with a card, a tiny artefact and bytes for weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from runtime.artefact import ModelFile, sha256_of, sidecar_path
from runtime.figures import Figure, Provenance
from runtime.models.card import (
    ArtefactFiles,
    Condition,
    DataSource,
    ModelCard,
    Quality,
    QualityRow,
    Training,
)
from runtime.models.page import page
from runtime.models.shipped import CARD, PAGE
from runtime.stft import StftContract
from tests.runtime.tiny_models import Kernel, write_artefact

HALF = Kernel(bias=(0.5, 0.0))


def stand_in(root: Path, name: str = "mcu", checkpoint: Path | None = None) -> Path:
    """Make the model ``name`` in ``root``: an artefact that halves its input, and the files of
    ``checkpoint``, or bytes that are none. A model called teacher has no artefact."""
    folder = root / name
    folder.mkdir(parents=True)
    weights = folder / "weights.safetensors", folder / "checkpoint.json"
    for file in weights:
        if checkpoint is None:
            file.write_bytes(b"none of " + name.encode())
        else:
            shutil.copy(checkpoint / file.name, file)
    artefacts: tuple[ArtefactFiles, ...] = ()
    if name != "teacher":
        made = write_artefact(folder, "tflite-int8", HALF).path
        artefacts = (
            ArtefactFiles(
                precision="int8", model=described(made), sidecar=described(sidecar_path(made))
            ),
        )
    card = card_of(name, tuple(map(described, weights)), artefacts)
    (folder / CARD).write_text(card.model_dump_json(by_alias=True))
    (folder / PAGE).write_text(page(card))
    return folder


def described(path: Path) -> ModelFile:
    return ModelFile(file=path.name, bytes=path.stat().st_size, sha256=sha256_of(path))


def card_of(
    name: str, checkpoint: tuple[ModelFile, ...], artefacts: tuple[ArtefactFiles, ...] = ()
) -> ModelCard:
    contract = StftContract()
    rows = (row("noisy"), row("float"), *([row("int8"), row("int8", "-5 dB")] if artefacts else []))
    return ModelCard(
        name=name,
        purpose=f"A stand-in for {name}.",
        role="student" if artefacts else "teacher",
        licence="Apache-2.0",
        parameters=25,
        macs_per_second=1_250_000,
        look_ahead_frames=0 if artefacts else None,
        algorithmic_delay_ms=32.0 if artefacts else None,
        contract=contract,
        training=Training(recipe=name, recipe_sha256="0" * 64, seed=3, method="none", teacher=None),
        data=(
            DataSource(
                name="Readings",
                kind="speech",
                hours=0.5,
                licence="CC-BY-4.0",
                attribution="Somebody | and others",
                changes="16 kHz",
            ),
        ),
        checkpoint=checkpoint,
        artefacts=artefacts,
        quality=(Quality(test_set="pairs", tools={"pesq": "0.0.4"}, rows=rows),),
        costs=(
            Figure(
                name="step, median [cortex-m4]",
                value=1234567,
                unit="instructions",
                provenance=Provenance.SIMULATED,
                tool="qemu 8",
                conditions="over 100 frames",
            ),
        ),
        limits=("It was tested on nothing.",),
    )


def row(condition: Condition, items: str = "all") -> QualityRow:
    return QualityRow(
        condition=condition,
        items=items,
        n=3,
        pesq_wb=1.5,
        stoi=0.8,
        estoi=0.6,
        si_sdr=-4.25,
        dnsmos_sig=3.0,
        dnsmos_bak=None,
        dnsmos_ovrl=2.5,
    )
