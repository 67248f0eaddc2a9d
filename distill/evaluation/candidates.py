"""What can be scored: checkpoints, model files, and folders of recordings denoised elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from distill.checkpoint import RECORD, Checkpoint, CheckpointRecord, load_checkpoint
from distill.corpus import SAMPLE_RATE
from distill.leakage import TrainingData
from distill.manifest import SUFFIXES
from distill.mixing import Mixture
from distill.training import enhance
from runtime.artefact import Artefact, load_artefact, sidecar_path
from runtime.denoiser import denoise_signal
from runtime.models import model_file, model_names, open_model
from runtime.stft import FloatArray, StftContract
from targets.errors import InputError

MODEL_SUFFIXES = (".tflite", ".onnx")
# In the order in which a run makes them; other checkpoints of a folder follow by name.
_STAGES = ("teacher", "control", "student")


@dataclass(frozen=True)
class Candidate:
    """A denoiser under a name: ``denoise`` maps a noisy signal ``[samples]`` to its estimate.

    ``trained_on`` is what is recorded of its training data; None where nothing can be known.
    """

    name: str
    parameters: int | None
    denoise: Callable[[FloatArray], FloatArray]
    trained_on: tuple[TrainingData, ...] | None = None

    def estimate(self, mixture: Mixture) -> FloatArray:
        """The estimate ``[samples]`` of the clean signal of a mixture."""
        return self.denoise(mixture.noisy)


@dataclass(frozen=True)
class Recordings:
    """Signals that were denoised elsewhere, by the name of their pair."""

    name: str
    files: Mapping[str, Path]
    parameters: None = None
    trained_on: tuple[TrainingData, ...] | None = None

    def estimate(self, mixture: Mixture) -> FloatArray:
        """What the folder holds for a pair. Raises InputError where that does not fit it."""
        path = self.files[mixture.speech]
        samples = read_mono(path)
        if len(samples) != len(mixture.noisy):
            raise InputError(
                f"{path} has {len(samples)} samples, its pair {len(mixture.noisy)}.",
                hint="Denoised files must be as long as the noisy ones and aligned with them.",
            )
        return samples


def checkpoint_candidate(path: Path, name: str, device: str = "cpu") -> Candidate:
    """The torch network of a checkpoint folder."""
    checkpoint = load_checkpoint(path)
    contract = checkpoint.record.contract
    _check_rate(path, contract)
    network = checkpoint.network.to(device)
    return Candidate(
        name,
        sum(parameter.numel() for parameter in network.parameters()),
        lambda noisy: enhance(network, contract, noisy),
        _data_of_checkpoint(checkpoint),
    )


def artefact_candidate(path: Path, name: str, engine: str | None = None) -> Candidate:
    """A model file, streamed frame by frame through ``engine`` as on a device."""
    artefact = load_artefact(path)
    _check_rate(path, artefact.sidecar.contract)
    return Candidate(
        name,
        artefact.sidecar.network.parameters,
        lambda noisy: denoise_signal(artefact, engine, noisy),
        _data_of_artefact(artefact),
    )


def open_candidate(path: Path, engine: str | None = None) -> Candidate:
    """A checkpoint or run folder, or a model file, named by its path; or a shipped model."""
    place = _place(path)
    if place.is_dir():
        return checkpoint_candidate(place, str(path))
    return artefact_candidate(place, place.name, engine)


def _place(path: Path) -> Path:
    """Where the candidate lies: a name stands for the artefact of a shipped model, or for its
    weights where it has no other."""
    if not path.exists() and str(path) in model_names():
        model = open_model(str(path))
        if not model.card.artefacts:
            return model.checkpoint()
    return model_file(path)


def open_candidates(
    path: Path, engine: str | None = None, pairs: list[str] | None = None
) -> list[Candidate | Recordings]:
    """Everything that a path names.

    A model file or a checkpoint is one candidate. A folder of checkpoints (a run) stands for all
    of them, a folder of artefacts too; a folder of recordings for what was denoised elsewhere,
    one file for each name in ``pairs``. Raises InputError for a folder that is none of these.
    """
    if not path.is_dir() or (path / RECORD).is_file():
        return [open_candidate(path, engine)]
    checkpoints = sorted(
        (file.parent for file in path.glob(f"*/{RECORD}")),
        key=lambda one: (_STAGES.index(one.name) if one.name in _STAGES else 9, one.name),
    )
    if checkpoints:
        return [checkpoint_candidate(one, str(one)) for one in checkpoints]
    models = sorted(
        file
        for file in path.iterdir()
        if file.suffix in MODEL_SUFFIXES and sidecar_path(file).is_file()
    )
    if models:
        return [artefact_candidate(model, model.name, engine) for model in models]
    return [_recordings(path, pairs)]


def read_mono(path: Path) -> FloatArray:
    """Samples ``[n]`` of a 16 kHz mono file. Raises InputError for anything else, and for NaN."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{path} cannot be read as audio.", hint="Use wav or flac.") from error
    if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise InputError(
            f"{path} has {rate} Hz and {samples.shape[1]} channels, not 16 kHz mono.",
            hint="Convert it first.",
        )
    if not np.isfinite(samples).all():
        raise InputError(
            f"{path} contains samples that are not numbers (NaN or infinity).",
            hint="Remove or repair the file.",
        )
    return np.ascontiguousarray(samples[:, 0])


def _recordings(path: Path, pairs: list[str] | None) -> Recordings:
    if (path / "noisy").is_dir() and (path / "clean").is_dir():
        raise InputError(
            f"{path} holds pairs, which are what is scored on.",
            hint=f"Name a model, and the pairs with --pairs {path}.",
        )
    files = {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES}
    if not files:
        raise InputError(
            f"Nothing to score in {path}: no checkpoint, no model file with its sidecar, no audio.",
            hint="Name a run, a folder of artefacts, or a folder of denoised recordings.",
        )
    if pairs is None:
        raise InputError(
            f"The recordings in {path} have no references.",
            hint="Give the pairs that were denoised with --pairs.",
        )
    lacking = [name for name in pairs if name not in files]
    if lacking:
        raise InputError(
            f"{path} lacks {len(lacking)} of {len(pairs)} pairs, the first is {lacking[0]}.",
            hint="Denoised files carry the names of the noisy ones.",
        )
    return Recordings(str(path), files)


def _check_rate(path: Path, contract: StftContract) -> None:
    if contract.sample_rate != SAMPLE_RATE:
        raise InputError(
            f"{path} works at {contract.sample_rate} Hz.", hint="Scores are computed at 16 kHz."
        )


def _data_of_checkpoint(checkpoint: Checkpoint) -> tuple[TrainingData, ...]:
    """What the network heard, and what the teacher it learnt from heard."""
    return (_data_of_record(checkpoint.record), *_data_of_teacher(checkpoint.record))


def _data_of_record(record: CheckpointRecord) -> TrainingData:
    provenance = record.provenance
    return TrainingData(
        provenance.get("corpus", record.data), record.data, provenance.get("corpus_sha256")
    )


def _data_of_teacher(record: CheckpointRecord) -> tuple[TrainingData, ...]:
    """The data of a teacher that was trained elsewhere; nothing for one of the same run."""
    teacher = record.recipe.get("teacher")
    if record.role != "student" or not isinstance(teacher, dict):
        return ()
    path, model = teacher.get("checkpoint"), teacher.get("model")
    if isinstance(path, str) or isinstance(model, str):
        try:
            folder = open_model(model).checkpoint() if isinstance(model, str) else Path(str(path))
            return (_data_of_record(load_checkpoint(folder).record),)
        except InputError:
            return (TrainingData(f"its teacher {model or path}", None, None),)
    foreign = [kind for kind in ("module", "onnx") if teacher.get(kind)]
    return tuple(TrainingData(f"its teacher ({kind})", None, None) for kind in foreign)


def _data_of_artefact(artefact: Artefact) -> tuple[TrainingData, ...]:
    """From the sidecar; the path is that of a checkpoint of the same run, where one lies near."""
    provenance = artefact.sidecar.provenance
    name, sha256 = provenance.get("corpus"), provenance.get("corpus_sha256")
    if name is None or sha256 is None:
        return (TrainingData("data that its sidecar does not name", None, None),)
    for record_file in sorted(artefact.path.resolve().parent.parent.glob(f"*/{RECORD}")):
        try:
            checkpoint = load_checkpoint(record_file.parent)
        except InputError:
            continue
        if checkpoint.sha256 == provenance.get("checkpoint_sha256"):
            return _data_of_checkpoint(checkpoint)
    return (TrainingData(name, "demo" if name == "demo" else None, sha256),)
