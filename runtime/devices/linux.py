"""Artefacts on a Linux or Android device behind a shell: what is run there, in which order."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.artefact import Artefact, source_files
from runtime.devices.children import ToolMissing
from runtime.devices.golden import golden_vectors
from runtime.devices.linux_compiler import Build, install
from runtime.devices.linux_device import read_device
from runtime.devices.linux_figures import EMULATED, Bench, c_figures, litert_figures, operator_row
from runtime.devices.linux_litert import find_benchmark, run_benchmark
from runtime.devices.linux_runner import PROGRAM, SOURCE, RunnerResults, furnish, run
from runtime.devices.remote import Shell, working_folder
from runtime.devices.simulation import GoldenVectors, compare
from runtime.profiling.backends import Findings, Request
from runtime.profiling.operators import c_rows
from runtime.profiling.records import OperatorRow, Reading

OPERATOR_SECONDS = 2.0
FLOAT_TOLERANCE = 1e-4  # of a mask in float32; a device may round the last bits otherwise


def measure_on(
    shell: Shell,
    backend: str,
    address: str,
    artefacts: Sequence[Artefact],
    request: Request,
    folder: Path,
) -> Findings:
    """One reading for each artefact, from a device. ``folder`` is for files on this machine.

    Raises what compilers and programs on the device raise; an artefact that no program there runs
    is a reading without figures, with the reason.
    """
    device = read_device(shell)
    bench = Bench(shell.name, backend, address, device, device.core(request.cpu))
    readings = []
    with working_folder(shell) as remote:
        for artefact in artefacts:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                reading = _reading(bench, shell, remote, artefact, request, Path(own))
            readings.append((reading,))
    return Findings(tuple(readings))


def _reading(
    bench: Bench, shell: Shell, remote: str, artefact: Artefact, request: Request, folder: Path
) -> Reading:
    match artefact.path.suffix.lower():
        case ".c":
            return _native(bench, shell, remote, artefact, request, folder)
        case ".tflite":
            return _litert(bench, shell, remote, artefact, request)
    return bench.nothing("no program there runs this format: export c-int8 or tflite-int8")


def _litert(
    bench: Bench, shell: Shell, remote: str, artefact: Artefact, request: Request
) -> Reading:
    if bench.device.emulated:
        return bench.nothing(EMULATED)
    try:
        tool = find_benchmark(shell, remote, bench.core.number)
    except ToolMissing as missing:
        return bench.nothing(f"{missing.message} {missing.hint}")
    timings = run_benchmark(shell, remote, tool, artefact.path, request.seconds)
    figures, missing_figures = litert_figures(bench, artefact, tool, timings)
    return bench.reading(figures=figures, unavailable=missing_figures)


def _native(
    bench: Bench, shell: Shell, remote: str, artefact: Artefact, request: Request, folder: Path
) -> Reading:
    sources = source_files(artefact)
    vectors = golden_vectors(artefact, request.frames)
    name = furnish(folder, sources, vectors)
    shell.push(folder / "features.bin", f"{remote}/features.bin")

    def timed(build: Build, seconds: float, operators: int = 0) -> tuple[RunnerResults, str]:
        compiler = install(build, bench.device.machine, shell, remote)
        cpu, program = bench.core.number, build.program
        found = run(
            *(shell, remote, folder, vectors),
            program=program,
            cpu=cpu,
            seconds=seconds,
            operators=operators,
        )
        return found, compiler

    bodies = (f"{name}.c", SOURCE)
    results, compiler = timed(Build(folder, PROGRAM, bodies), request.seconds)
    rows: tuple[OperatorRow, ...] = ()
    known = c_rows(sources[artefact.path.name])
    if known and not (results.emulated or bench.device.emulated):
        hooks = max(row.step for row in known) + 1
        definitions = (f"{name.upper()}_PROFILE", f"BENCH_OPERATORS={hooks}")
        build = Build(folder, f"{PROGRAM}_operators", bodies, definitions)
        profiled, _ = timed(build, min(request.seconds, OPERATOR_SECONDS), hooks)
        rows = tuple(operator_row(bench, row, profiled) for row in known)
    matches, difference = agreement(vectors, results)
    figures, missing = c_figures(bench, artefact, results, compiler)
    return bench.reading(
        figures=figures,
        operators=rows,
        unavailable=missing,
        matches=matches,
        difference=difference,
    )


def agreement(vectors: GoldenVectors, results: RunnerResults) -> tuple[bool, str]:
    """Whether every frame gave the golden mask, and the first that did not.

    Integers to the bit, float32 within FLOAT_TOLERANCE.
    """
    difference = compare(vectors, results.masks)
    if difference is None:
        return True, ""
    told = (
        f"frame {difference.frame}, value {difference.value}: {difference.actual:g}, expected "
        f"{difference.expected:g}; {difference.differing} values differ, by "
        f"{difference.largest:g} at most"
    )
    near = vectors.masks.dtype == np.float32 and np.allclose(
        results.masks, vectors.masks, rtol=0.0, atol=FLOAT_TOLERANCE
    )
    return near, told
