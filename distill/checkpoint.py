"""A checkpoint folder: ``weights.safetensors`` and ``checkpoint.json``. Never a pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from distill.unet import UNet, UNetConfig
from runtime.artefact import sha256_of, write_atomically
from runtime.stft import StftContract
from targets.errors import InputError

WEIGHTS = "weights.safetensors"
RECORD = "checkpoint.json"


class CheckpointRecord(BaseModel):
    """What the weights are: architecture, contract, the recipe that made them and its data."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal["sordino-checkpoint/1"] = Field("sordino-checkpoint/1", alias="schema")
    role: Literal["teacher", "student", "control"]
    preset: str
    architecture: UNetConfig
    contract: StftContract
    data: str  # "demo", or the manifest or folder the recipe named
    recipe: dict[str, object]
    provenance: dict[str, str] = {}
    scores: dict[str, float] = {}


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode with its record; ``path`` is the folder it came from."""

    path: Path
    record: CheckpointRecord
    network: UNet

    @property
    def sha256(self) -> str:
        return sha256_of(self.path / WEIGHTS)


def save_checkpoint(folder: Path, network: UNet, record: CheckpointRecord) -> None:
    """Write weights, then the record, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    write_atomically(folder / WEIGHTS, save(weights))
    text = json.dumps(record.model_dump(mode="json", by_alias=True), indent=2) + "\n"
    write_atomically(folder / RECORD, text.encode())


def load_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint folder, or the ``student`` checkpoint of a run folder.

    Raises InputError when it is missing, truncated or does not fit its architecture.
    """
    folder = path / "student" if (path / "student" / RECORD).is_file() else path
    if not (folder / RECORD).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(
            f"No checkpoint in {path} ({WEIGHTS} and {RECORD} are needed).",
            hint="`sordino distill` writes one.",
        )
    try:
        record = CheckpointRecord.model_validate_json((folder / RECORD).read_bytes())
        weights = load((folder / WEIGHTS).read_bytes())
        network = UNet(record.architecture)
        network.load_state_dict(weights)
    except (ValidationError, SafetensorError, RuntimeError, ValueError) as error:
        raise InputError(
            f"The checkpoint in {folder} is damaged or of another version.",
            hint="Distil again, or restore the folder from its source.",
        ) from error
    return Checkpoint(path=folder, record=record, network=network.eval())
