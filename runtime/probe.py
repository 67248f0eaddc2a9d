"""The child process of a benchmark: ``python -m runtime.probe JOB``, one JSON record on stdout.

It does one thing and ends, so that neither memory nor caches of anything else are measured. An
error of its own is a record with ``error``, ``refused`` telling whether the model is at fault; a
crash shows in its exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import re
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from runtime.artefact import load_artefact
from runtime.denoiser import StreamingDenoiser
from runtime.engines import ENGINES, Array, Engine, open_engine
from runtime.engines.quiet import captured_stderr
from runtime.modelfile.refusal import ModelRefused
from runtime.stft import FloatArray, StftContract
from targets.errors import InputError, SordinoError

WARM_UP_STEPS = 200
CHUNK_STEPS = 50  # before the next engine has its turn
MEMORY_STEPS = 50
ARENA_STEPS = 3
CLEAR_PEAK = "5"  # to /proc/self/clear_refs: reset VmHWM to the present
ARENA_LINE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


class TimedEngine:
    """An engine that notes how long each ``run`` took, in nanoseconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.inputs, self.outputs = engine.name, engine.inputs, engine.outputs
        self.durations: list[int] = []

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        start = time.perf_counter_ns()
        results = self._engine.run(inputs)
        self.durations.append(time.perf_counter_ns() - start)
        return results


def probe_signal(contract: StftContract, seconds: float = 8.0) -> list[FloatArray]:
    """Hops of noise whose level swells and fades four times a second, as speech does."""
    generator = np.random.default_rng(0)
    hops = int(seconds * contract.sample_rate / contract.hop)
    at = np.arange(hops * contract.hop) / contract.sample_rate
    level = 0.1 * np.sin(np.pi * 4.0 * at) ** 2 + 0.001
    signal = (level * generator.standard_normal(len(at))).astype(np.float32)
    return list(signal.reshape(hops, contract.hop))


def probe_latency(model: Path, engines: Sequence[str], seconds: float) -> dict[str, Any]:
    """Time steps of every engine in turns, ``seconds`` for each."""
    artefact = load_artefact(model)
    hops = cycle(probe_signal(artefact.sidecar.contract))
    timed = [TimedEngine(open_engine(artefact, name)) for name in engines]
    denoisers = [StreamingDenoiser(artefact.sidecar, engine) for engine in timed]
    for denoiser in denoisers:
        for hop in islice(hops, WARM_UP_STEPS):
            denoiser.push(hop)
    for engine in timed:
        engine.durations.clear()
    whole: list[list[int]] = [[] for _ in timed]
    gc.disable()
    deadline = time.perf_counter() + seconds * len(timed)
    while time.perf_counter() < deadline:
        for durations, denoiser in zip(whole, denoisers, strict=True):
            for hop in islice(hops, CHUNK_STEPS):
                start = time.perf_counter_ns()
                denoiser.push(hop)
                durations.append(time.perf_counter_ns() - start)
    gc.enable()
    return {
        "latencies": [
            _percentiles(engine, durations) for engine, durations in zip(timed, whole, strict=True)
        ]
    }


def _percentiles(engine: TimedEngine, whole: Sequence[int]) -> dict[str, Any]:
    steps = np.asarray(engine.durations) / 1_000.0
    median, p95, p99 = (float(value) for value in np.percentile(steps, (50, 95, 99)))
    return {
        "engine": engine.name,
        "steps": len(steps),
        "median_us": median,
        "p95_us": p95,
        "p99_us": p99,
        "hop_median_us": float(np.median(whole)) / 1_000.0,
    }


def probe_memory(model: Path, engine_name: str) -> dict[str, Any]:
    """Peak memory of opening the model and running it, and what loading the library took."""
    artefact = load_artefact(model)
    hops = probe_signal(artefact.sidecar.contract)[:MEMORY_STEPS]
    empty = _memory("VmRSS")
    for module in ENGINES[engine_name].modules:
        importlib.import_module(module)
    before = _memory("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    except OSError as error:
        raise InputError("the peak cannot be reset here (/proc/self/clear_refs)") from error
    denoiser = StreamingDenoiser(artefact.sidecar, open_engine(artefact, engine_name))
    for hop in hops:
        denoiser.push(hop)
    return {
        "engine": engine_name,
        "peak_bytes": max(0, _memory("VmHWM") - before),
        "library_bytes": max(0, before - empty),
    }


def _memory(field: str) -> int:
    """A line of ``/proc/self/status`` in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError as error:
        raise InputError("memory is measured on Linux only (/proc/self/status)") from error
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise InputError(f"this kernel does not report {field}")
    return int(found[1]) * 1024


def probe_arena(model: Path) -> dict[str, Any]:
    """Bytes of TFLM's arena, as its recording allocator counts them after some steps."""
    from runtime.engines.tflm import TflmEngine

    artefact = load_artefact(model)
    engine = open_engine(artefact, "tflm")
    if not isinstance(engine, TflmEngine):
        raise InputError("the arena is known to TFLM only")
    denoiser = StreamingDenoiser(artefact.sidecar, engine)
    for hop in probe_signal(artefact.sidecar.contract)[:ARENA_STEPS]:
        denoiser.push(hop)
    with captured_stderr() as report:
        engine.print_allocations()
    found = {kind: int(size) for kind, size in ARENA_LINE.findall(report.text)}
    if set(found) != {"total", "head", "tail"}:
        raise InputError("TFLM printed no arena report that could be read")
    return {f"{kind}_bytes": size for kind, size in found.items()}


def main(job: str) -> int:
    """Run one job, ``{"kind": …, "model": …, …}``, and write its record to stdout."""
    request = json.loads(job)
    model = Path(request["model"])
    try:
        match request["kind"]:
            case "latency":
                record = probe_latency(model, request["engines"], request["seconds"])
            case "memory":
                record = probe_memory(model, request["engine"])
            case _:
                record = probe_arena(model)
    except SordinoError as error:
        refused = isinstance(error, ModelRefused)
        record = {"error": error.message, "hint": error.hint, "refused": refused}
    sys.stdout.write(json.dumps(record) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
