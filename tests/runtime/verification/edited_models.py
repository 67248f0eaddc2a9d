"""Tiny artefacts that were edited after they were made, with sidecars that do not give it away."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.c.generator import generate
from export.tflite import METADATA_NAME
from runtime.artefact import (
    C_MODEL,
    Artefact,
    ModelFile,
    Sidecar,
    load_artefact,
    sidecar_path,
)
from runtime.stft import StftContract
from tests.export.edited import rewritten
from tests.runtime.tiny_models import Format, Kernel, copy_weight, write_artefact

CONTRACT = StftContract(bins=64)


def listening() -> Kernel:
    """A mask that follows this frame and the one before."""
    weight = copy_weight()[:2].repeat(2, axis=1)
    return Kernel((0.3, 0.0), 0.25 * weight)


def made(folder: Path, target: Format) -> Artefact:
    return write_artefact(folder, target, listening(), CONTRACT)


def replaced(artefact: Artefact, content: bytes) -> Artefact:
    """Other bytes, and a sidecar with their hash."""
    artefact.path.write_bytes(content)
    return sealed(artefact.path, artefact.sidecar)


def sealed(path: Path, sidecar: Sidecar) -> Artefact:
    files = [_file(path)] + [_file(path.with_name(one.file)) for one in sidecar.sources]
    sidecar = sidecar.model_copy(update={"model": files[0], "sources": tuple(files[1:])})
    sidecar_path(path).write_text(sidecar.model_dump_json(by_alias=True))
    return load_artefact(path)


def _file(path: Path) -> ModelFile:
    content = path.read_bytes()
    return ModelFile(file=path.name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def tflite(folder: Path, edit: Callable[[Any], None], target: Format = "tflite-int8") -> Artefact:
    artefact = made(folder, target)
    return replaced(artefact, rewritten(artefact.path.read_bytes(), edit))


def onnx(folder: Path, edit: Callable[[Any], None]) -> Artefact:
    import onnx as package

    artefact = made(folder, "onnx-fp32")
    model = package.load_from_string(artefact.path.read_bytes())
    edit(model)
    return replaced(artefact, model.SerializeToString())


def generated(origin: Artefact, edit: Callable[[str], str] = lambda text: text) -> Artefact:
    """The C of a TFLite artefact, in a folder beside it, after ``edit`` changed its text."""
    content = rewritten(origin.path.read_bytes(), with_states)
    files = generate(content, C_MODEL.removesuffix(".c")).files
    target = origin.sidecar.target.replace("tflite", "c")
    folder = origin.path.parent / f"tiny-{target}"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    path = folder / C_MODEL
    path.write_text(edit(path.read_text()))
    sources = tuple(_file(folder / name) for name in files if name != C_MODEL)
    sidecar = origin.sidecar.model_copy(
        update={"target": target, "name": folder.name, "sources": sources}
    )
    return sealed(path, sidecar)


def with_states(model: Any) -> None:
    """What sordino's files say of their states, and the tiny ones do not."""
    buffer, entry = schema.BufferT(), schema.MetadataT()
    states = json.dumps({"states": {"memory_in": "memory_out"}})
    buffer.data = np.frombuffer(states.encode(), np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [entry]
