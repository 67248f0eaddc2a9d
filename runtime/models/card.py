"""The card of a shipped model: what it is and was made of, how good it is, what it costs."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.artefact import ModelFile
from runtime.contract import StftContract
from runtime.figures import Figure

SCHEMA: Final = "sordino-model/1"
NAME: Final = r"^[a-z][a-z0-9-]*$"
Precision = Literal["int8", "int16x8"]
Condition = Literal["noisy", "alone", "float", "int8", "int16x8"]
ALL: Final = "all"  # items of a row that is not of one ratio


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Training(_Record):
    """What repeats a training. ``teacher`` and its hash are None for a network trained alone."""

    recipe: str
    recipe_sha256: str
    seed: int
    method: str
    teacher: str | None = None
    teacher_sha256: str | None = None  # of its weights


class DataSource(_Record):
    """Recordings that were trained on, with what their licence asks to be told."""

    name: str
    kind: Literal["speech", "noise", "room responses"]
    hours: float | None  # of the training split; None where they do not count in hours
    licence: str
    attribution: str
    changes: str


class ArtefactFiles(_Record):
    """An artefact and its sidecar."""

    precision: Precision
    model: ModelFile
    sidecar: ModelFile


class QualityRow(_Record):
    """Means over ``n`` items of one condition: ``alone`` is the float network trained without a
    teacher. ``items`` is "all", or a ratio of speech to noise such as "-5 dB". SI-SDR in dB."""

    condition: Condition
    items: str
    n: int
    pesq_wb: float | None
    stoi: float | None
    estoi: float | None
    si_sdr: float | None
    dnsmos_sig: float | None
    dnsmos_bak: float | None
    dnsmos_ovrl: float | None


class Quality(_Record):
    """Scores on one test set. ``tools`` are what denoised and what scored, with versions."""

    test_set: str
    tools: dict[str, str]
    rows: tuple[QualityRow, ...]

    def row(self, condition: Condition, items: str = ALL) -> QualityRow | None:
        """The means of a condition, None where it was not scored."""
        wanted = (condition, items)
        return next((row for row in self.rows if (row.condition, row.items) == wanted), None)


class ModelCard(_Record):
    """All that is known of a shipped model; ``CARD.md`` is rendered from it.

    ``look_ahead_frames`` and ``algorithmic_delay_ms`` (buffering and look-ahead included) are None
    for a network that hears whole recordings. ``limits`` are sentences: what the model was neither
    trained nor tested on.
    """

    schema_version: Literal["sordino-model/1"] = Field(SCHEMA, alias="schema")
    name: str = Field(pattern=NAME)
    purpose: str
    role: Literal["teacher", "student"]
    licence: str  # of the weights
    parameters: int
    macs_per_second: int
    look_ahead_frames: int | None
    algorithmic_delay_ms: float | None
    contract: StftContract
    training: Training
    data: tuple[DataSource, ...]
    checkpoint: tuple[ModelFile, ...]
    artefacts: tuple[ArtefactFiles, ...] = ()
    quality: tuple[Quality, ...] = ()
    costs: tuple[Figure, ...] = ()  # instructions on simulated cores
    limits: tuple[str, ...]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return tuple(files.precision for files in self.artefacts)

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Every file of the model's folder but the card itself and its page."""
        artefacts = (one for files in self.artefacts for one in (files.model, files.sidecar))
        return (*self.checkpoint, *artefacts)
