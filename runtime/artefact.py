"""An artefact: a model file plus the sidecar JSON that says all a denoiser needs to run it."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.modelfile.refusal import LARGEST_MODEL, ModelRefused
from runtime.modelfile.sidecar import LARGEST_SIDECAR, check_sidecar
from runtime.stft import StftContract
from targets.errors import InputError

SCHEMA: Final = "sordino-artefact/1"
C_MODEL: Final = "model.c"  # the C of an artefact, in a folder of its own
Dtype = Literal["float32", "int8", "int16"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Record):
    """One input or output tensor: real = (stored − zero_point) · scale where quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: Dtype = "float32"
    scale: float | None = None
    zero_point: int | None = None


class StateSpec(_Record):
    """A recurrent state: the output tensor to be fed to the input tensor at the next step."""

    name: str
    input: str
    output: str


class ModelFile(_Record):
    file: str = Field(pattern=r"^[^/\\\x00]+$")  # a name, not a path
    bytes: int
    sha256: str


class Network(_Record):
    """What the network is: preset name, parameter count and multiply-accumulates per step."""

    preset: str
    parameters: int
    macs_per_step: int


class GateResult(_Record):
    """One gate: what was measured against which limit. ``verdict`` 'unavailable' is not a pass,
    ``likely`` names the bug that a failure like this one usually had."""

    name: str
    measured: str
    limit: str
    verdict: Literal["pass", "fail", "unavailable"]
    detail: str = ""
    likely: str = ""


class Sidecar(_Record):
    """The JSON beside a model file (same name, suffix ``.json``)."""

    schema_version: Literal["sordino-artefact/1"] = Field(SCHEMA, alias="schema")
    name: str
    target: str  # artefact format, e.g. "tflite-int8"
    model: ModelFile
    sources: tuple[ModelFile, ...] = ()  # of C, beside the model file: headers, audio path
    contract: StftContract
    inputs: tuple[TensorSpec, ...]  # inputs[0] is the features [1, 1, bins, 3]
    outputs: tuple[TensorSpec, ...]  # outputs[0]: mask [1, 1, bins, 1], complex [1, 1, bins, 2]
    states: tuple[StateSpec, ...]
    network: Network
    quantization: dict[str, str | int | float] = {}
    operators: dict[str, int] = {}
    memory: dict[str, int] = {}  # of C, in bytes: "ram" (state and arena), "constants";
    # of its audio path beside them "audio_ram", "audio_constants"
    tools: dict[str, str] = {}  # package → version that made the file
    provenance: dict[str, str] = {}  # checkpoint and recipe hashes, data, licences
    gates: tuple[GateResult, ...] = ()
    scores: dict[str, dict[str, float]] = {}  # row (noisy, float, int8) → metric → mean

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Artefact(_Record):
    """A model file that matches its sidecar."""

    path: Path
    sidecar: Sidecar


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to a temporary name beside ``path`` and rename it into place.

    An OSError names ``path``: of itself a full disk names nothing, and the temporary name would
    only puzzle.
    """
    # Random: of a folder shared by machines or threads, a process number names more than one.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # a read-only file system refuses even what is not there
            temporary.unlink()


def sidecar_path(model: Path) -> Path:
    return model.with_suffix(".json")


def load_artefact(path: Path) -> Artefact:
    """Open a model file and its sidecar, and check that sizes and hashes agree.

    A folder stands for the C model in it. Raises InputError when a file is missing, unreadable or
    was altered.
    """
    if path.is_dir() and (path / C_MODEL).is_file():
        path = path / C_MODEL
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not a model.",
            hint=f"Name a .tflite or .onnx file, or a folder with {C_MODEL}.",
        )
    if not path.is_file():
        raise InputError(f"No model at {path}.", hint="`sordino export` writes artefacts.")
    beside = sidecar_path(path)
    if not beside.is_file():
        raise InputError(
            f"{path.name} has no sidecar ({beside.name} is missing beside it).",
            hint="Keep the model and its .json together, or export it again.",
        )
    sidecar = _read_sidecar(beside)
    _check_file(path, sidecar.model)
    for source in sidecar.sources:
        _check_file(path.with_name(source.file), source)
    return Artefact(path=path, sidecar=sidecar)


def _read_sidecar(path: Path) -> Sidecar:
    try:
        if path.stat().st_size > LARGEST_SIDECAR:
            raise ValueError("larger than any sidecar")
        sidecar = Sidecar.model_validate_json(path.read_bytes())
    except (ValidationError, ValueError, RecursionError) as error:
        raise ModelRefused(
            f"{path.name} is not a valid sordino sidecar.", hint="Export the model again."
        ) from error
    check_sidecar(sidecar, path.name)
    return sidecar


def source_files(artefact: Artefact) -> dict[str, bytes]:
    """Name → content of a C model and its headers."""
    names = (artefact.path.name, *(source.file for source in artefact.sidecar.sources))
    return {name: artefact.path.with_name(name).read_bytes() for name in names}


def _check_file(path: Path, expected: ModelFile) -> None:
    """Raise InputError where a file is missing or not the one that the sidecar describes."""
    if not path.is_file():
        raise InputError(f"{path.name} is missing.", hint="Copy the whole folder of the model.")
    if path.stat().st_size > LARGEST_MODEL:
        raise ModelRefused(
            f"{path.name} is larger than any model ({path.stat().st_size >> 20} MiB).",
            hint=f"At most {LARGEST_MODEL >> 20} MiB are read.",
        )
    if path.stat().st_size != expected.bytes or sha256_of(path) != expected.sha256:
        raise InputError(
            f"{path.name} is not the file its sidecar describes (size or SHA-256 differs).",
            hint="It was truncated or altered: copy or export it again.",
        )
