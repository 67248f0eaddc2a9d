"""What a pack is: its manifest, the names in it, and bytes that are the same every time."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtime.artefact import Sidecar, TensorSpec
from targets.errors import InputError
from targets.fit import arena_with_margin

MANIFEST = "manifest.json"
CONTRACT = "contract.json"
FIGURES = "figures.json"
MODEL_SOURCE = "c/model_data.c"
MODEL_HEADER = "c/model_data.h"
OP_RESOLVER = "c/op_resolver.inc"
GOLDEN = "golden/golden.json"

LARGEST_FILE = 64 << 20  # bytes; models of this project are below 4 MiB
LARGEST_PACK = 128 << 20
MOST_FILES = 512
PATH_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){0,3}$"

Role = Literal[
    "model",
    "sidecar",
    "source",
    "contract",
    "golden",
    "figures",
    "fit",
    "licence",
    "readme",
]

# Formats that TFLM runs: only for these a pack has sources, an operator list and an arena.
FIRMWARE_FORMATS = ("tflite-int8", "tflite-int16x8", "tflite-fp32")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class PackFile(_Record):
    """One file of the pack; ``path`` is relative, with ``/`` between its parts."""

    path: str = Field(pattern=PATH_PATTERN)
    role: Role
    bytes: int = Field(ge=0, le=LARGEST_FILE)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(_Record):
    """The list of all files, written last. ``digest`` is the SHA-256 of the canonical JSON of
    every other field, so that the manifest vouches for itself as well."""

    schema_version: Literal["sordino-pack/1"] = Field("sordino-pack/1", alias="schema")
    name: str = Field(min_length=1, max_length=200)
    target: str  # artefact format of the model
    model: str  # path of the model that the golden vectors belong to
    sidecar: str
    tools: dict[str, str] = {}
    files: tuple[PackFile, ...] = Field(min_length=1, max_length=MOST_FILES)
    digest: str = ""

    @model_validator(mode="after")
    def _names_are_plain_and_unique(self) -> Manifest:
        paths = [file.path for file in self.files]
        if paths != sorted(paths):
            raise ValueError("the files are not in order")
        if len({path.casefold() for path in paths}) != len(paths) or MANIFEST in paths:
            raise ValueError("a path occurs twice")
        if self.model not in paths or self.sidecar not in paths:
            raise ValueError("model or sidecar is not among the files")
        return self

    def expected_digest(self) -> str:
        return hashlib.sha256(canonical_json(self, exclude={"digest"})).hexdigest()


class Golden(_Record):
    """What the golden vectors are and how close a replay must come to them.

    Arrays beside it, all ``.npy``: ``signal`` float32 ``[frames · hop]``; ``features_real``
    float32 ``[frames, bins, 3]``; and in stored values, one leading axis for time,
    ``features``, ``mask`` and one ``state_<name>`` with ``frames + 1`` entries, entry ``t``
    going into frame ``t``.
    """

    schema_version: Literal["sordino-golden/1"] = Field("sordino-golden/1", alias="schema")
    engine: str
    tools: dict[str, str]
    signal: str  # what was heard
    frames: int = Field(ge=1, le=100_000)
    tolerance: float = Field(ge=0.0, le=1.0)  # in stored values; 0 is bit exact


def canonical_json(record: BaseModel | object, *, exclude: set[str] | None = None) -> bytes:
    """The one way a record is written: sorted keys, two spaces, ASCII, a newline at the end."""
    value: Any = record
    if isinstance(record, BaseModel):
        value = record.model_dump(mode="json", by_alias=True, exclude=exclude)
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode("ascii")


def archive(files: Mapping[str, bytes]) -> bytes:
    """A zip of ``files``, stored without compression, manifest last, always the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(files, key=lambda name: (name == MANIFEST, name)):
            entry = zipfile.ZipInfo(path)  # dated 1980-01-01
            entry.create_system = 3  # Unix, whatever the machine that packs
            entry.external_attr = 0o100644 << 16
            target.writestr(entry, files[path])
    return buffer.getvalue()


def arena_constant(measured: float | None) -> int | None:
    """Bytes that firmware reserves for an arena measured at ``measured`` bytes."""
    return None if measured is None else arena_with_margin(round(measured))


def header_constants(sidecar: Sidecar, arena_bytes: int | None) -> dict[str, str]:
    """The macros of ``model_data.h``, in order. ``arena_bytes`` has its margin; None: unknown.

    Raises InputError when two tensor names give one macro name.
    """
    contract = sidecar.contract
    constants: dict[str, str] = {
        "SORDINO_MODEL_BYTES": f"{sidecar.model.bytes}u",
        "SORDINO_SAMPLE_RATE": str(contract.sample_rate),
        "SORDINO_WINDOW_LENGTH": str(contract.window_length),
        "SORDINO_HOP": str(contract.hop),
        "SORDINO_FFT_SIZE": str(contract.fft_size),
        "SORDINO_BINS": str(contract.bins),
        "SORDINO_COMPRESSION": _float(contract.compression),
        "SORDINO_STFT_SCALE": _float(contract.scale),
        "SORDINO_OPERATOR_COUNT": str(len(sidecar.operators)),
        "SORDINO_INPUT_COUNT": str(len(sidecar.inputs)),
        "SORDINO_OUTPUT_COUNT": str(len(sidecar.outputs)),
        "SORDINO_STATE_COUNT": str(len(sidecar.states)),
        "SORDINO_STATE_BYTES": f"{_state_bytes(sidecar)}u",
    }
    if contract.synthesis_length != contract.window_length:
        constants["SORDINO_SYNTHESIS_LENGTH"] = str(contract.synthesis_length)
    if arena_bytes is not None:
        constants["SORDINO_ARENA_BYTES"] = f"{arena_bytes}u"
    for kind, tensors in (("INPUT", sidecar.inputs), ("OUTPUT", sidecar.outputs)):
        for index, tensor in enumerate(tensors):
            stem = f"SORDINO_{kind}_{macro_name(tensor.name)}"
            if f"{stem}_INDEX" in constants:
                raise InputError(
                    f"Two tensors of {sidecar.name} would share the macro {stem}.",
                    hint="Export the model again with distinct names.",
                )
            constants.update(_tensor_constants(stem, index, tensor))
    constants["SORDINO_STATES(X)"] = " ".join(_state_rows(sidecar))
    return constants


def macro_name(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def elements(tensor: TensorSpec) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def _tensor_constants(stem: str, index: int, tensor: TensorSpec) -> dict[str, str]:
    constants = {f"{stem}_INDEX": str(index), f"{stem}_SIZE": str(elements(tensor))}
    if tensor.scale is not None:
        constants[f"{stem}_SCALE"] = _float(tensor.scale)
        constants[f"{stem}_ZERO_POINT"] = f"({tensor.zero_point or 0})"
    return constants


def _state_rows(sidecar: Sidecar) -> list[str]:
    """``X(input index, output index, elements, zero point)`` of every state, in order."""
    inputs = {tensor.name: (index, tensor) for index, tensor in enumerate(sidecar.inputs)}
    outputs = {tensor.name: index for index, tensor in enumerate(sidecar.outputs)}
    rows = []
    for state in sidecar.states:
        if state.input not in inputs or state.output not in outputs:
            raise InputError(
                f"State {state.name} of {sidecar.name} names a tensor that does not exist.",
                hint="Export the model again.",
            )
        index, tensor = inputs[state.input]
        rows.append(
            f"X({index}, {outputs[state.output]}, {elements(tensor)}, {tensor.zero_point or 0})"
        )
    return rows


def _state_bytes(sidecar: Sidecar) -> int:
    sizes = {"float32": 4, "int8": 1, "int16": 2}
    entering = {state.input for state in sidecar.states}
    return sum(elements(t) * sizes[t.dtype] for t in sidecar.inputs if t.name in entering)


def _float(value: float) -> str:
    """A C float literal that gives back the same float32."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


_ADD_METHODS = {
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}


def resolver_lines(sidecar: Sidecar) -> tuple[str, ...]:
    """One C++ statement per operator kind, for TFLM's ``MicroMutableOpResolver``."""
    return tuple(f"resolver.{_add_method(name)}();" for name in sorted(sidecar.operators))


def _add_method(operator: str) -> str:
    parts = operator.split("_")
    camel = "".join(part if part == "2D" else part.capitalize() for part in parts)
    return _ADD_METHODS.get(operator, f"Add{camel}")
