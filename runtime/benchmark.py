"""Benchmarks of a model on this host, each in a fresh child process on one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact
from runtime.modelfile.refusal import ModelRefused
from targets.errors import SordinoError

GRACE_SECONDS = 120.0  # for a child to start, load its libraries and warm up
SINGLE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latency(_Record):
    """Percentiles over ``steps`` steps: of the engine alone, and of a whole hop in Python."""

    engine: str
    steps: int
    median_us: float
    p95_us: float
    p99_us: float
    hop_median_us: float


class Memory(_Record):
    """``peak_bytes``: opening the model and running it; ``library_bytes``: importing the engine."""

    engine: str
    peak_bytes: int
    library_bytes: int


class Arena(_Record):
    """TFLM's arena on a 64-bit host: ``head`` for activations, ``tail`` for what persists."""

    total_bytes: int
    head_bytes: int
    tail_bytes: int


class BenchmarkUnavailable(SordinoError):
    """A benchmark could not run here; the message is the reason."""

    exit_code = 3


def measure_latency(
    artefact: Artefact, engines: Sequence[str], seconds: float = 10.0
) -> tuple[Latency, ...]:
    """Step latencies of each engine, measured in turns in one child, ``seconds`` for each.

    Raises BenchmarkUnavailable with the reason, ModelRefused where that is the model.
    """
    job = {"kind": "latency", "engines": list(engines), "seconds": seconds}
    record = _run_child(artefact, job, seconds * len(engines))
    return tuple(Latency.model_validate(entry) for entry in record["latencies"])


def measure_memory(artefact: Artefact, engine: str) -> Memory:
    """Peak memory of one engine in a child of its own. Raises BenchmarkUnavailable."""
    return Memory.model_validate(_run_child(artefact, {"kind": "memory", "engine": engine}, 0.0))


def measure_arena(artefact: Artefact) -> Arena:
    """TFLM's arena, without kernel scratch of other builds. Raises BenchmarkUnavailable.

    The child keeps a crash of TFLM away from the caller.
    """
    return Arena.model_validate(_run_child(artefact, {"kind": "arena"}, 0.0))


def _run_child(artefact: Artefact, job: dict[str, Any], seconds: float) -> dict[str, Any]:
    request = json.dumps({**job, "model": str(artefact.path.resolve())})
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "runtime.probe", request],
            env=_child_environment(),
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkUnavailable("the benchmark process did not end in time") from error
    if child.returncode < 0:
        raise BenchmarkUnavailable(f"the engine crashed (signal {-child.returncode})")
    if child.returncode > 0:
        lines = child.stderr.strip().splitlines()
        raise BenchmarkUnavailable(lines[-1] if lines else "the benchmark process failed")
    record: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    if record.get("refused"):
        raise ModelRefused(record["error"], hint=record["hint"])
    if "error" in record:
        raise BenchmarkUnavailable(record["error"], hint=record["hint"])
    return record


def _child_environment() -> dict[str, str]:
    """One thread, and the packages of this very installation: ``runtime`` is a common folder name,
    which is also why the child does not look into the working folder (``-P``)."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, os.environ.get("PYTHONPATH", "")]
    threads = dict.fromkeys(SINGLE_THREAD, "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
