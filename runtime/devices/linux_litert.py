"""LiteRT's own benchmark program, ``benchmark_model``, on a device.

What it prints is told in https://ai.google.dev/edge/litert/models/measurement: one line of
statistics after warm-up and one after the run, times in microseconds. Older versions give mean,
minimum and maximum, newer ones median, 5th and 95th percentile as well; none gives the 99th.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from runtime.devices.children import ToolMissing
from runtime.devices.remote import Shell, in_folder, reason
from targets.errors import GateFailed, GateUnavailable, InputError

TOOL = "benchmark_model"
VARIABLE = "SORDINO_BENCHMARK_MODEL"  # a file on this machine, built for the device
PLACES = ("/data/local/tmp/benchmark_model",)  # beside the PATH of the device
WARM_UP_SECONDS = 0.5
SPARE_SECONDS = 120.0
_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,2})?)"
_STATISTIC = re.compile(rf"\b(count|min|max|avg|std|median|p95|curr)={_NUMBER}")
_INITIALISED = re.compile(rf"Inference timings in us: Init: {_NUMBER}")
_MEMORY = re.compile(rf"Memory footprint delta[^\n]*\boverall={_NUMBER}")
_XNNPACK = re.compile(r"XNNPACK delegate")


@dataclass(frozen=True)
class LiteRtTimings:
    """What ``benchmark_model`` printed: microseconds and bytes, None where it gave no such figure.

    ``memory`` is the growth of the greatest resident size since its start, as it sees it.
    """

    runs: int
    mean: float
    minimum: float
    maximum: float
    deviation: float
    median: float | None = None
    p95: float | None = None
    load: float | None = None
    memory: float | None = None
    xnnpack: bool = False


@dataclass(frozen=True)
class BenchmarkTool:
    """``benchmark_model`` on the device, and how it is held on a core (empty: it is not)."""

    path: str
    pinning: str


def find_benchmark(shell: Shell, remote: str, cpu: int) -> BenchmarkTool:
    """The program on the device, or the one that SORDINO_BENCHMARK_MODEL names, copied there.

    Raises InputError where the variable names no file, ToolMissing where there is none at all.
    """
    given = os.environ.get(VARIABLE, "")
    if given:
        if not Path(given).is_file():
            raise InputError(f"{VARIABLE} names no file ({given}).", hint="Correct or unset it.")
        path = f"{remote}/{TOOL}"
        shell.push(Path(given).resolve(), path)
    else:
        tried = " || ".join(f"command -v {quote(place)}" for place in (TOOL, *PLACES))
        lines = shell.run(tried).output.split()
        if not lines:
            raise ToolMissing(
                f"There is no {TOOL} of LiteRT on {shell.name}.",
                hint=f"Put it into its PATH or at {PLACES[0]}, or name one with {VARIABLE}.",
            )
        path = lines[0]
    mask = f"{1 << cpu:x}"
    own = f"chmod 700 {quote(path)}; " if given else ""
    pinned = shell.run(f"{own}taskset {mask} true").status == 0
    return BenchmarkTool(path, f"taskset {mask}" if pinned else "")


def run_benchmark(
    shell: Shell, remote: str, tool: BenchmarkTool, model: Path, seconds: float
) -> LiteRtTimings:
    """Time a TFLite model on one thread for at least ``seconds``.

    Raises GateFailed where the program refuses the model or prints no timings, GateUnavailable
    where it cannot be started.
    """
    shell.push(model, f"{remote}/model.tflite")
    command = (
        f"{tool.pinning} {quote(tool.path)} --graph=model.tflite --num_threads=1 "
        f"--min_secs={seconds:g} --max_secs={4 * seconds + SPARE_SECONDS:g} "
        f"--warmup_min_secs={WARM_UP_SECONDS:g} 2>&1"
    ).strip()
    finished = shell.run(in_folder(remote, command), 4 * seconds + 2 * SPARE_SECONDS)
    if finished.status in (126, 127):
        raise GateUnavailable(
            f"{TOOL} cannot be started on {shell.name}: {reason(finished)}",
            hint="Was it built for another processor or system?",
        )
    if finished.status:
        raise GateFailed(f"{TOOL} failed on {shell.name}: {reason(finished)}")
    return parse_output(finished.output + finished.errors)


def parse_output(text: str) -> LiteRtTimings:
    """Read what ``benchmark_model`` prints. Raises GateFailed where it holds no timings."""
    rows = [
        {key: float(value) for key, value in _STATISTIC.findall(line)}
        for line in text.splitlines()
        if "count=" in line
    ]
    # Warm-up comes first, the run second; tables of operators, if any, later.
    found = rows[1] if len(rows) > 1 else {}
    # "curr" is all there is where every run took as long as any other.
    mean = found.get("avg", found.get("curr"))
    if mean is None or found.get("count", 0) < 1:
        raise GateFailed(f"{TOOL} printed no timings.", hint="Run it by hand to see why.")
    load, memory = _INITIALISED.search(text), _MEMORY.search(text)
    return LiteRtTimings(
        runs=int(found["count"]),
        mean=mean,
        minimum=found.get("min", mean),
        maximum=found.get("max", mean),
        deviation=found.get("std", 0.0),
        median=found.get("median"),
        p95=found.get("p95"),
        load=float(load[1]) if load else None,
        memory=float(memory[1]) * (1 << 20) if memory else None,
        xnnpack=bool(_XNNPACK.search(text)),
    )
