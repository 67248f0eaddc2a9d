"""Benchmarks of models on this host, in fresh child processes on one thread, pinned to one CPU."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact
from runtime.devices.children import run_tool
from runtime.modelfile.refusal import ModelRefused
from runtime.timing import Durations
from targets.errors import GateUnavailable, InputError, SordinoError

GRACE_SECONDS = 120.0  # for a child to start, load its libraries and warm up
OPENING_SECONDS = 30.0  # of each contestant: C has to be compiled
SINGLE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Contestant:
    """An artefact in an engine."""

    artefact: Artefact
    engine: str


class Environment(_Record):
    """What tells on a timing beside the model; None where the system does not say."""

    load: float  # average over a minute, of the whole machine
    governor: str | None
    khz: int | None  # clock of the CPU
    interruptions: int  # of the child, by others that ran on its CPU
    affinity: tuple[int, ...] | None  # CPUs the child may run on


@dataclass(frozen=True)
class Turns:
    """What came of timing contestants in turns.

    ``durations`` holds for each contestant, in order, the nanoseconds ``[rounds, hops]`` of its
    parts, empty for one in ``failures``.
    """

    durations: tuple[dict[str, Durations], ...]
    failures: dict[int, SordinoError]
    before: Environment | None = None  # None when none could be timed
    after: Environment | None = None


class Loading(_Record):
    """Loading a model up to its first step, and the memory of running it.

    ``peak_bytes``: opening the model and running it; ``library_bytes``: importing the engine; both
    None for a ``reason``.
    """

    engine: str
    load_ms: float
    peak_bytes: int | None
    library_bytes: int | None
    reason: str


class OperatorTimes(_Record):
    """Time of each operator over ``frames`` frames."""

    frames: int
    operators: tuple[dict[str, Any], ...]


class Arena(_Record):
    """TFLM's arena on a 64-bit host: ``head`` for activations, ``tail`` for what persists."""

    total_bytes: int
    head_bytes: int
    tail_bytes: int


class BenchmarkUnavailable(GateUnavailable):
    """A benchmark could not run here; the message is the reason."""


def chosen_cpu(asked: int | None = None) -> int | None:
    """The CPU to pin to: the one asked for, else the last allowed one; None where this system
    cannot pin. Raises InputError for a CPU that this process may not use."""
    if not hasattr(os, "sched_setaffinity"):
        if asked is not None:
            raise InputError("This system cannot pin a process to a CPU.", hint="Leave out --cpu.")
        return None
    allowed = sorted(os.sched_getaffinity(0))
    if asked is None:
        return allowed[-1]
    if asked not in allowed:
        raise InputError(
            f"This process may not run on CPU {asked}.",
            hint=f"It may use {', '.join(map(str, allowed))}.",
        )
    return asked


def time_in_turns(
    contestants: Sequence[Contestant], seconds: float = 10.0, cpu: int | None = None
) -> Turns:
    """Time contestants in turns in one child pinned to ``cpu``, ``seconds`` for each.

    One that cannot be opened, crashes or never ends is among the failures, a crash after which the
    others are timed anew in a fresh child: what is compared has always run side by side. Raises
    BenchmarkUnavailable when the child cannot do its work at all.
    """
    failures: dict[int, SordinoError] = {}
    while left := [number for number in range(len(contestants)) if number not in failures]:
        with tempfile.TemporaryDirectory(prefix="sordino-turns-") as place:
            folder = Path(place)
            job = {
                "kind": "turns",
                "folder": place,
                "contestants": [
                    (str(contestants[n].artefact.path.resolve()), contestants[n].engine)
                    for n in left
                ],
                "seconds": seconds,
                "cpu": cpu,
            }
            try:
                record = _run_child(job, (seconds + OPENING_SECONDS) * len(left))
            except BenchmarkUnavailable as error:
                if (at := _whose_turn(folder)) is None:
                    raise
                failures[left[at]] = error
                continue
            refused = {left[int(at)]: _error(told) for at, told in record["refused"].items()}
            failures |= refused
            return Turns(
                _read_durations(folder, left, len(contestants)),
                failures,
                Environment.model_validate(record["before"]),
                Environment.model_validate(record["after"]),
            )
    return Turns(tuple({} for _ in contestants), failures)


def _whose_turn(folder: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int((folder / "turn").read_text())
    return None


def _read_durations(
    folder: Path, numbers: Sequence[int], contestants: int
) -> tuple[dict[str, Durations], ...]:
    read: tuple[dict[str, Durations], ...] = tuple({} for _ in range(contestants))
    with np.load(folder / "durations.npz", allow_pickle=False) as stored:
        for name in stored.files:
            at, _, part = name.partition(" ")
            read[numbers[int(at)]][part] = stored[name]
    return read


def measure_loading(artefact: Artefact, engine: str, cpu: int | None = None) -> Loading:
    """Load time and peak memory of one engine in a child of its own. Raises BenchmarkUnavailable,
    ModelRefused where that is the model."""
    return Loading.model_validate(_run_child(_job("loading", artefact, engine, cpu), 0.0))


def measure_operators(artefact: Artefact, engine: str, cpu: int | None = None) -> OperatorTimes:
    """Time of every operator in ``onnxruntime`` or ``native``. Raises as measure_loading."""
    return OperatorTimes.model_validate(_run_child(_job("operators", artefact, engine, cpu), 0.0))


def measure_arena(artefact: Artefact) -> Arena:
    """TFLM's arena, without kernel scratch of other builds. Raises BenchmarkUnavailable.

    The child keeps a crash of TFLM away from the caller.
    """
    return Arena.model_validate(_run_child(_job("arena", artefact, "tflm", None), 0.0))


def _job(kind: str, artefact: Artefact, engine: str, cpu: int | None) -> dict[str, Any]:
    model = str(artefact.path.resolve())
    return {"kind": kind, "model": model, "engine": engine, "cpu": cpu}


def _run_child(job: dict[str, Any], seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "runtime.probe", json.dumps(job)]
    # A folder and a process group of its own: a compiler that the child started ends with it.
    with tempfile.TemporaryDirectory(prefix="sordino-probe-") as folder:
        try:
            child = run_tool(
                command, Path(folder), seconds + GRACE_SECONDS, environment=_child_environment()
            )
        except GateUnavailable as error:
            raise BenchmarkUnavailable("the benchmark process did not end in time") from error
    if child.status < 0:
        raise BenchmarkUnavailable(f"the engine crashed (signal {-child.status})")
    if child.status > 0:
        lines = child.errors.strip().splitlines()
        raise BenchmarkUnavailable(lines[-1] if lines else "the benchmark process failed")
    record: dict[str, Any] = json.loads(child.output.splitlines()[-1])
    if "error" in record:
        raise _error(record)
    return record


def _error(told: dict[str, Any]) -> SordinoError:
    """The error that a child met."""
    kind = ModelRefused if told["refused"] else BenchmarkUnavailable
    return kind(told["error"], hint=told["hint"])


def _child_environment() -> dict[str, str]:
    """One thread, and the packages of this very installation: ``runtime`` is a common folder name,
    which is also why the child does not look into the working folder (``-P``)."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, os.environ.get("PYTHONPATH", "")]
    threads = dict.fromkeys(SINGLE_THREAD, "1")
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
