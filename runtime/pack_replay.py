"""Replaying the golden vectors of a pack, in a process of its own: the model is native code's
input and may come from anywhere, so a crash must not be ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from runtime.artefact import GateResult
from runtime.engines import ENGINES
from runtime.pack_format import GOLDEN, Golden, Manifest

SECONDS = 300
GATE = "pack-golden"
REFERENCE_ENGINES = {"tflite": ("litert-reference", "tflm"), "onnx": ("onnxruntime",)}


def replay_in_child(files: Mapping[str, bytes], manifest: Manifest) -> GateResult:
    """Replay in a child process on the first reference engine that is installed."""
    limit = "bit exact"
    try:
        golden = Golden.model_validate_json(files[GOLDEN])
    except (ValidationError, ValueError, RecursionError):
        return _result("fail", "", limit, f"{GOLDEN} is not a valid record")
    if golden.tolerance:
        limit = f"within {golden.tolerance:g}"
    engine = reference_engine(manifest.target)
    if engine is None:
        reason = f"no engine for {manifest.target} is installed here; `sordino doctor` tells more"
        return _result("unavailable", "not run", limit, reason)
    with tempfile.TemporaryDirectory(prefix="sordino-") as folder:
        _lay_out(files, manifest, Path(folder))
        return _run_child(Path(folder), engine, limit)


def reference_engine(target: str) -> str | None:
    """The first installed engine whose results are the reference for a format."""
    for name in REFERENCE_ENGINES.get(target.split("-", 1)[0], ()):
        try:
            metadata.version(ENGINES[name].distribution)
        except metadata.PackageNotFoundError:
            continue
        return name
    return None


def _lay_out(files: Mapping[str, bytes], manifest: Manifest, folder: Path) -> None:
    """Write what the child needs under names of our own choosing."""
    (folder / "model").write_bytes(files[manifest.model])
    (folder / "sidecar.json").write_bytes(files[manifest.sidecar])
    for path, content in files.items():
        if path.startswith("golden/") and path.count("/") == 1:
            (folder / path.removeprefix("golden/")).write_bytes(content)


def _run_child(folder: Path, engine: str, limit: str) -> GateResult:
    root = str(Path(__file__).resolve().parent.parent)  # this very installation, nothing else
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "runtime.pack_vectors", str(folder), engine],
            capture_output=True,
            timeout=SECONDS,
            env=environment,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _result("fail", "", limit, f"{engine} took longer than {SECONDS} s")
    if child.returncode < 0:
        detail = f"{engine} died of signal {-child.returncode} while running this model"
        return _result("fail", "", limit, detail)
    try:
        answer = json.loads(child.stdout.decode().strip().splitlines()[-1])
        return _result(answer["verdict"], answer["measured"], limit, answer["detail"])
    except (ValueError, LookupError, TypeError):
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return _result("unavailable", "not run", limit, f"the replay broke off: {last}")


def _result(verdict: str, measured: str, limit: str, detail: str) -> GateResult:
    return GateResult.model_validate(
        {"name": GATE, "measured": measured, "limit": limit, "verdict": verdict, "detail": detail}
    )
