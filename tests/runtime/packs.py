"""Packs of tiny models, and packs that were put together wrongly but hashed all the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from export.pack import write_pack
from export.pack_golden import GoldenSignal
from runtime.artefact import GateResult
from runtime.pack import verify_pack
from runtime.pack_format import MANIFEST, Manifest, archive, canonical_json
from runtime.stft import StftContract
from tests.runtime.tiny_models import Format, write_artefact

CONTRACT = StftContract(bins=16)
NAME = "tiny-tflite-int8"


def noise(frames: int = 100) -> GoldenSignal:
    samples = 0.1 * np.random.default_rng(0).standard_normal(frames * CONTRACT.hop)
    return GoldenSignal(samples.astype(np.float32), "noise")


def make_pack(folder: Path, target: Format = "tflite-int8", suffix: str = "") -> Path:
    artefact = write_artefact(folder, target, contract=CONTRACT)
    destination = folder / f"pack{suffix}"
    write_pack(artefact, destination, signal=noise())
    return destination


def files_of(pack: Path) -> dict[str, bytes]:
    return {
        path.relative_to(pack).as_posix(): path.read_bytes()
        for path in sorted(pack.rglob("*"))
        if path.is_file()
    }


def repacked(files: Mapping[str, bytes], **changes: object) -> dict[str, bytes]:
    """``files`` with a manifest that vouches for them, whatever they contain."""
    record = json.loads(files[MANIFEST])
    roles = {entry["path"]: entry["role"] for entry in record["files"]}
    record["files"] = [
        {
            "path": path,
            "role": roles.get(path, "readme"),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for path, content in sorted(files.items())
        if path != MANIFEST
    ]
    draft = Manifest.model_validate({**record, **changes})
    manifest = draft.model_copy(update={"digest": draft.expected_digest()})
    return {**files, MANIFEST: canonical_json(manifest)}


def verify_files(folder: Path, files: Mapping[str, bytes]) -> list[GateResult]:
    """Verify a zip of ``files``, written the way sordino writes one."""
    path = folder / "again.zip"
    path.write_bytes(archive(files))
    return verify_pack(path)


def failures(results: list[GateResult]) -> dict[str, str]:
    return {result.name: result.detail for result in results if result.verdict == "fail"}
