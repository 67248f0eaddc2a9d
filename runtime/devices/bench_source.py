"""The bench firmware of an artefact: a folder that a user with a board builds in his project."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np

from runtime.artefact import Artefact, source_files
from runtime.devices.artefacts import labels_of
from runtime.devices.bench_protocol import model_prefix
from runtime.devices.golden import golden_vectors
from runtime.devices.simulation import C_TYPES, GoldenVectors
from targets.errors import InputError

SCHEMA: Final = "sordino-bench/1"
RECORD: Final = "bench.json"  # what was written, so that a later bench replaces nothing else
BUILT: Final = "build"  # the Makefile's folder: remade at will
_BOARD_INDEPENDENT = ("bench.c", "bench.h", "bench_core.c", "bench_core.h", "bench_itm.c")
_EXAMPLE = ("Makefile", "README.md", "qemu/board.c", "qemu/board.ld")
_VALUES_A_LINE = 24


@dataclass(frozen=True)
class Bench:
    """A folder that was written."""

    folder: Path
    model: str  # SHA-256 of NAME.c
    files: tuple[str, ...]
    frames: int  # in bench_features.c
    feature_bytes: int  # of bench_features.c in flash, in a build with BENCH_OUTPUT_ONLY
    operators: int  # that a build with BENCH_OPERATORS counts


def write_bench(artefact: Artefact, folder: Path, *, frames: int = 100) -> Bench:
    """Write the bench of a C artefact into ``folder``, all of it or nothing.

    An older bench there is replaced unless somebody changed it. Raises InputError for an artefact
    that is not C and for a folder that has anything else in it or cannot be written, EngineMissing
    without a C compiler for this machine, which computes the golden masks.
    """
    folder = Path(os.path.abspath(folder))
    _check_room(folder)
    vectors = golden_vectors(artefact, frames)
    files = _files(artefact, vectors)
    record = {
        "schema": SCHEMA,
        "artefact": artefact.sidecar.name,
        "model": artefact.sidecar.model.sha256,
        "frames": frames,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[RECORD] = (json.dumps(record, indent=2) + "\n").encode()
    _write(folder, files)
    return Bench(
        folder=folder,
        model=artefact.sidecar.model.sha256,
        files=tuple(files),
        frames=frames,
        feature_bytes=vectors.features.nbytes,
        operators=_hooks(artefact),
    )


def _files(artefact: Artefact, vectors: GoldenVectors) -> dict[str, bytes]:
    name = artefact.path.stem
    source = resources.files("runtime.devices").joinpath("bench")
    files = {entry: source.joinpath(entry).read_bytes() for entry in _BOARD_INDEPENDENT}
    for entry in _EXAMPLE:
        text = source.joinpath(*entry.split("/")).read_text("utf-8")
        filled = text.replace("@model@", name).replace("@NAME@", name.upper())
        files[entry] = filled.encode()
    files["bench_model.h"] = _model_header(artefact, vectors).encode()
    files["bench_features.c"] = _features_source(vectors).encode()
    for entry, content in source_files(artefact).items():
        files[f"model/{entry}"] = content
    return files


def _hooks(artefact: Artefact) -> int:
    """How many numbers a profile has room for: the hooks are numbered as the operators are."""
    labels = labels_of(artefact.path.read_bytes())
    return max((label.step for label in labels), default=-1) + 1


def _model_header(artefact: Artefact, vectors: GoldenVectors) -> str:
    name, hooks = artefact.path.stem, _hooks(artefact)
    features, masks = vectors.features, vectors.masks
    prefix = ", ".join(f"0x{byte:02x}" for byte in model_prefix(artefact.sidecar.model.sha256))
    return (
        f"/* What the bench has to know of {artefact.sidecar.name}. Written by sordino. */\n"
        f'#include "{name}.h"\n\n'
        f"#define MODEL(member) {name}_##member\n"
        f"typedef {C_TYPES[features.dtype.name]} model_feature;\n"
        f"typedef {C_TYPES[masks.dtype.name]} model_mask;\n"
        f"#define BENCH_FEATURES {features.shape[1]}\n"
        f"#define BENCH_MASKS {masks.shape[1]}\n"
        f"#define BENCH_FRAMES {vectors.frames} /* of bench_features.c */\n"
        f"#define BENCH_HOOKS {max(hooks, 1)} /* numbers of profiling hooks */\n"
        f"/* Half of the SHA-256 of {name}.c, {artefact.sidecar.model.sha256} */\n"
        f"#define BENCH_MODEL_HASH {{{prefix}}}\n"
    )


def _features_source(vectors: GoldenVectors) -> str:
    """Golden features as C, for a build that receives nothing."""
    lines = [
        f"/* {vectors.frames} golden frames of features; used with BENCH_OUTPUT_ONLY alone. */",
        '#include "bench_model.h"',
        "",
        "extern const model_feature bench_features[BENCH_FRAMES][BENCH_FEATURES];",
        "const model_feature bench_features[BENCH_FRAMES][BENCH_FEATURES] = {",
    ]
    for frame in vectors.features:
        values = [_c_value(value) for value in frame]
        lines.append("    {")
        for start in range(0, len(values), _VALUES_A_LINE):
            lines.append(f"        {', '.join(values[start : start + _VALUES_A_LINE])},")
        lines.append("    },")
    return "\n".join([*lines, "};", ""])


def _c_value(value: np.generic) -> str:
    # Hexadecimal floats are exact and C99.
    return f"{float(value).hex()}f" if isinstance(value, np.floating) else str(int(value))


def _check_room(folder: Path) -> None:
    """Raise InputError where ``folder`` holds what no bench wrote, or what somebody changed."""
    if not folder.exists():
        if not folder.parent.is_dir():
            raise InputError(f"There is no folder {folder.parent}.", hint="Make it first.")
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file.", hint="Name a folder to make.")
    there = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and path.relative_to(folder).parts[0] != BUILT
    )
    known = _known(folder / RECORD)
    foreign = [name for name in there if name not in known and name != RECORD]
    if foreign:
        raise InputError(
            f"{folder} has {foreign[0]}, which is not of a bench.",
            hint="Name a folder that is empty or not there yet.",
        )
    changed = [
        name
        for name in there
        if name in known and hashlib.sha256((folder / name).read_bytes()).hexdigest() != known[name]
    ]
    if changed:
        raise InputError(
            f"{folder / changed[0]} was changed since sordino wrote it.",
            hint="Name another folder, or remove this one.",
        )


def _known(record: Path) -> Mapping[str, str]:
    """Files of an older bench and their SHA-256, empty where there is none."""
    try:
        content = json.loads(record.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return {}
    files = content.get("files")
    return {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write beside ``folder``, then rename; an older bench goes when the new one stands."""
    building = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.part")
    replaced = building.with_suffix(".old")
    try:
        for name, content in files.items():
            place = building / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        if folder.exists():
            os.rename(folder, replaced)
        try:
            os.rename(building, folder)
        except OSError:
            if replaced.exists():
                os.rename(replaced, folder)
            raise
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({(error.strerror or str(error)).lower()}).",
            hint="Free some space, or choose another folder.",
        ) from error
    finally:
        for leftover in (building, replaced):
            shutil.rmtree(leftover, ignore_errors=True)
