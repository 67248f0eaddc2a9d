"""The gates of every file of one network, on more than one core where there are many."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from export.describe import describe
from export.formats import ROUNDED, Emitted, Format, origin_of
from export.material import Material
from export.onnx import write_onnx
from export.preparation import Prepared
from export.quality import FloatQuality, compare_quantized, float_quality
from export.trained import Trained
from export.verify import (
    Features,
    oracle_of,
    verify_file,
    verify_generated,
    verify_network,
    verify_parity,
)
from runtime.artefact import GateResult, Sidecar
from runtime.engines import engine_from_bytes
from runtime.metrics.scoring import scoring_processes

FEW = 3  # files up to which starting other processes would take longer than it saves
PROCESSES = 2

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Verified:
    """A model that was judged, with the sidecar that is to lie beside it."""

    emitted: Emitted
    sidecar: Sidecar


@dataclass(frozen=True)
class Case:
    """What every file of one network is judged with."""

    trained: Trained
    probe: Features
    material: Material
    prepared: Prepared | None


@dataclass(frozen=True)
class _Judged:
    """What was found out about one file alone: its sidecar so far, and its own gates."""

    draft: Sidecar
    gates: tuple[GateResult, ...]


def judge(
    case: Case, files: Mapping[Format, Emitted], formats: Sequence[Format], progress: Progress
) -> list[Verified]:
    """``formats`` in their order, each with all its gates.

    ``files`` holds all but the float ONNX file, which is written here, and beside them the float
    TFLite file and those that C was generated from.
    """
    alone = dict.fromkeys(map(origin_of, formats))
    with _processes(len(formats)) as pool:
        network = pool.submit(_network, case, files["tflite-fp32"].content)
        progress("scoring the float graph", 0.35)
        graph, contract = case.trained.student.graph, case.trained.contract
        reference = float_quality(graph, contract, case.material.held_out)
        waiting = {
            name: pool.submit(_generated if model.origin else _alone, case, reference, model)
            for name, model in files.items()
            if name in alone or name in formats
        }
        progress("verifying the network", 0.45)
        onnx, shared = network.result()
        if "onnx-fp32" in formats:
            model = Emitted("onnx-fp32", onnx)
            files = {**files, "onnx-fp32": model}
            waiting["onnx-fp32"] = pool.submit(_alone, case, reference, model)
        judged = _collected(waiting, progress)
    return [_completed(files[name], judged, shared) for name in formats]


def _network(case: Case, float_file: bytes) -> tuple[bytes, list[GateResult]]:
    """The float ONNX file, and the gates on the network and its float files: every float format is
    checked against every other, also when only one of them is asked for."""
    with one_torch_thread():
        student = case.trained.student
        onnx = write_onnx(student)
        gates = verify_network(student, case.probe)
        floats: dict[Format, bytes] = {"tflite-fp32": float_file, "onnx-fp32": onnx}
        return onnx, [*gates, verify_parity(student, floats, case.probe)]


def _alone(case: Case, reference: FloatQuality, model: Emitted) -> _Judged:
    """The gates on one file, and what it does to the held-out mixtures."""
    draft = _draft(case, reference, model)
    comparison = None
    if model.quantized is not None or model.format in ROUNDED:
        engine = engine_from_bytes(oracle_of(model.format), model.content)
        comparison = compare_quantized(reference, draft, engine, case.material.held_out)
        draft = draft.model_copy(update={"scores": comparison.scores()})
    return _Judged(
        draft, tuple(verify_file(model, case.trained.student.graph, draft, case.probe, comparison))
    )


def _generated(case: Case, reference: FloatQuality, model: Emitted) -> _Judged:
    draft = _draft(case, reference, model)
    return _Judged(draft, tuple(verify_generated(model, draft, case.probe)))


def _draft(case: Case, reference: FloatQuality, model: Emitted) -> Sidecar:
    return describe(
        case.trained,
        model,
        case.material,
        case.prepared if model.quantized is not None else None,
        scores=reference.scores(),
    )


def _completed(
    model: Emitted, judged: Mapping[Format, _Judged], shared: Sequence[GateResult]
) -> Verified:
    """C has also passed the gates of the TFLite file it came from, whose values it must have."""
    own = judged[model.format]
    if model.origin:
        origin = judged[origin_of(model.format)]
        gates = (*shared, *origin.gates, *own.gates)
        scores = origin.draft.scores
    else:
        gates, scores = (*shared, *own.gates), own.draft.scores
    return Verified(model, own.draft.model_copy(update={"gates": gates, "scores": scores}))


def _collected(
    waiting: Mapping[Format, Future[_Judged]], progress: Progress
) -> dict[Format, _Judged]:
    judged = {}
    for index, (name, future) in enumerate(waiting.items()):
        progress(f"verifying {name}", 0.5 + 0.48 * index / len(waiting))
        judged[name] = future.result()
    return judged


class _Here(Executor):
    """Does each task at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _processes(files: int) -> Iterator[Executor]:
    if files <= FEW or (os.cpu_count() or 1) < PROCESSES:
        yield _Here()
        return
    with scoring_processes(PROCESSES) as pool:
        yield pool


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Single frames gain nothing from more threads, and beside another busy process threads that
    wait for each other made an export of 20 seconds last 5 minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
