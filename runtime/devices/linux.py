"""Artefacts on a Linux or Android device behind a shell: what is run there, in which order."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from runtime.artefact import Artefact
from runtime.devices.children import ToolMissing
from runtime.devices.linux_device import read_device
from runtime.devices.linux_figures import EMULATED, Bench, litert_figures
from runtime.devices.linux_litert import find_benchmark, run_benchmark
from runtime.devices.linux_native import NativeTask
from runtime.devices.remote import Shell, working_folder
from runtime.profiling.backends import Findings, Request
from runtime.profiling.records import Reading


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
            return NativeTask(bench, shell, remote, folder, artefact, request).reading()
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
