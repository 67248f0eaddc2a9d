"""The child process of a benchmark: ``python -m runtime.probe JOB``, one JSON record on stdout.

It does one thing and ends, so that neither memory nor caches of anything else are measured. An
error of its own is a record with ``error``, ``refused`` telling whether the model is at fault; a
crash shows in its exit status.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.artefact import Artefact, load_artefact
from runtime.contestants import RECORDED, contestant, recorded_inputs
from runtime.denoiser import StreamingDenoiser
from runtime.engines import ENGINES, Engine, load_engine, open_engine
from runtime.engines.quiet import captured_stderr
from runtime.modelfile.check import checked_bytes
from runtime.modelfile.refusal import ModelRefused
from runtime.probe_signal import probe_signal
from runtime.turns import Take, rounds_until, take_turns
from targets.errors import InputError, SordinoError

MEMORY_STEPS = 50
ARENA_STEPS = 3
CLEAR_PEAK = "5"  # to /proc/self/clear_refs: reset VmHWM to the present
ARENA_LINE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
FREQUENCY = "/sys/devices/system/cpu/cpu{}/cpufreq/scaling_{}"


def probe_turns(request: dict[str, Any]) -> dict[str, Any]:
    """Time contestants in turns; durations go to ``durations.npz`` in the folder of the request.

    The file ``turn`` there says whose turn it is, lest this process does not live to tell. A
    contestant that cannot be opened is left out, with the reason.
    """
    folder = Path(request["folder"])
    turn = os.open(folder / "turn", os.O_CREAT | os.O_WRONLY)
    opened: dict[int, dict[str, Take]] = {}
    refused: dict[int, dict[str, Any]] = {}
    for number, (model, engine) in enumerate(request["contestants"]):
        os.pwrite(turn, b"%6d" % number, 0)
        try:
            opened[number] = contestant(load_artefact(Path(model)), engine)
        except SordinoError as error:
            refused[number] = _told(error)
    numbers = list(opened)
    before = _environment(request["cpu"])
    rounds = rounds_until(request["seconds"] * len(opened)) if opened else ()
    taken = take_turns(
        list(opened.values()), rounds, lambda at: os.pwrite(turn, b"%6d" % numbers[at], 0)
    )
    durations: dict[str, Any] = {
        f"{number} {part}": values
        for number, parts in zip(numbers, taken, strict=True)
        for part, values in parts.items()
    }
    np.savez(folder / "durations.npz", **durations)
    return {"refused": refused, "before": before, "after": _environment(request["cpu"])}


def _told(error: SordinoError) -> dict[str, Any]:
    refused = isinstance(error, ModelRefused)
    return {"error": error.message, "hint": error.hint, "refused": refused}


def _environment(cpu: int | None) -> dict[str, Any]:
    """What else may tell on a timing, None where this system does not say."""
    return {
        "load": os.getloadavg()[0],
        "governor": _read(FREQUENCY.format(cpu, "governor")),
        "khz": _read(FREQUENCY.format(cpu, "cur_freq")),
        "interruptions": resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip() or None
    except OSError:
        return None


def probe_loading(artefact: Artefact, engine_name: str) -> dict[str, Any]:
    """Time from a checked file to the end of a first step, the peak of memory up to there and over
    some hops, and what importing the library took. Memory is None with the reason where this
    system does not tell."""
    hops = probe_signal(artefact.sidecar.contract)[:MEMORY_STEPS]
    model = checked_bytes(artefact)
    empty, before, reason = 0, 0, ""
    try:
        empty = _memory("VmRSS")
    except InputError as error:
        reason = error.message
    for module in ENGINES[engine_name].modules:
        importlib.import_module(module)
    if not reason:
        before, reason = _memory("VmRSS"), _peak_reset()
    start = time.perf_counter()
    engine = _unrehearsed(artefact, engine_name, model)
    engine.run([np.zeros(port.shape, port.dtype) for port in engine.inputs])
    loaded = time.perf_counter() - start
    denoiser = StreamingDenoiser(artefact.sidecar, engine)
    for hop in hops:
        denoiser.push(hop)
    return {
        "engine": engine_name,
        "load_ms": 1e3 * loaded,
        "peak_bytes": None if reason else max(0, _memory("VmHWM") - before),
        "library_bytes": None if reason else max(0, before - empty),
        "reason": reason,
    }


def _peak_reset() -> str:
    """Why the peak of memory cannot be reset here, empty once it is."""
    try:
        Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    except OSError:
        return "the peak cannot be reset here (/proc/self/clear_refs)"
    return ""


def _unrehearsed(artefact: Artefact, engine_name: str, model: bytes) -> Engine:
    """A crash ends this process and nothing else: no need of another to try first."""
    if engine_name == "native":
        from runtime.engines.native import open_native

        return open_native(artefact)
    return load_engine(engine_name, model)


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


def probe_operators(artefact: Artefact, engine_name: str) -> dict[str, Any]:
    """What each operator takes, for the engines that tell."""
    from runtime.devices.host_operators import c_operators, onnx_operators

    inputs = recorded_inputs(artefact, open_engine(artefact, engine_name))
    if engine_name == "native":
        rows = c_operators(artefact, np.stack([frame[0] for frame in inputs]))
    else:
        rows = onnx_operators(artefact, inputs)
    return {"frames": RECORDED, "operators": [row.model_dump() for row in rows]}


def probe_arena(artefact: Artefact) -> dict[str, Any]:
    """Bytes of TFLM's arena, as its recording allocator counts them after some steps."""
    from runtime.engines.tflm import TflmEngine

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


def main(arguments: Sequence[str]) -> int:
    """Run one job, ``{"kind": …, …}``, and write its record to stdout."""
    # Ends tidily when it is asked to, so that a compiler it has started ends too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    request = json.loads(arguments[0])
    if request["cpu"] is not None:
        os.sched_setaffinity(0, {request["cpu"]})  # before any library starts a thread
    try:
        record = _done(request)
    except SordinoError as error:
        record = _told(error)
    sys.stdout.write(json.dumps(record) + "\n")
    return 0


def _done(request: dict[str, Any]) -> dict[str, Any]:
    if request["kind"] == "turns":
        return probe_turns(request)
    artefact = load_artefact(Path(request["model"]))
    match request["kind"]:
        case "loading":
            return probe_loading(artefact, request["engine"])
        case "operators":
            return probe_operators(artefact, request["engine"])
        case _:
            return probe_arena(artefact)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
