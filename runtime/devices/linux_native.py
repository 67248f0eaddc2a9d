"""Generated C on a Linux or Android device: a step, its operators, and a whole hop of audio."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.artefact import Artefact, source_files
from runtime.devices.golden import golden_audio, golden_vectors
from runtime.devices.linux_compiler import Build, install
from runtime.devices.linux_figures import Bench, audio_figures, operator_row, step_figures
from runtime.devices.linux_runner import PROGRAM, SOURCE, RunnerResults, furnish, run
from runtime.devices.remote import Shell
from runtime.devices.simulation import GoldenVectors, compare
from runtime.generated_c import audio_source, model_name
from runtime.profiling.backends import Request
from runtime.profiling.operators import c_rows
from runtime.profiling.records import OperatorRow, Reading

OPERATOR_SECONDS = 2.0
FLOAT_TOLERANCE = 1e-4  # of a mask or a sample; a device may round the last bits otherwise
NO_AUDIO = "its C has no audio path: that is written where fft_size is a power of two"


@dataclass(frozen=True)
class NativeTask:
    """A C artefact to be run on a device. ``folder`` is for files here, ``remote`` there."""

    bench: Bench
    shell: Shell
    remote: str
    folder: Path
    artefact: Artefact
    request: Request

    def reading(self) -> Reading:
        """Everything that can be told of it, emulated devices telling no times."""
        vectors = golden_vectors(self.artefact, self.request.frames)
        name = self._furnish("step", vectors)
        bodies = (f"{name}.c", SOURCE)
        results, compiler = self._timed("step", PROGRAM, bodies, vectors)
        matches, difference = agreement(vectors, results)
        figures, missing = step_figures(self.bench, self.artefact, results, compiler)
        rows: tuple[OperatorRow, ...] = ()
        if figures:
            rows = self._operators(name, bodies, vectors)
        if audio_source(name) in source_files(self.artefact):
            hops = golden_audio(self.artefact, self.request.frames)
            self._furnish("audio", hops)
            both = (audio_source(name), *bodies)
            audio, compiler = self._timed("audio", f"{PROGRAM}_audio", both, hops)
            same, told = agreement(hops, audio)
            matches = matches and same
            difference = "; ".join(filter(None, (difference, told and f"audio: {told}")))
            more, lacking = audio_figures(self.bench, audio, compiler)
        else:
            more, lacking = (), (self.bench.unavailable("hop of audio", NO_AUDIO),)
        return self.bench.reading(
            figures=figures + more,
            operators=rows,
            unavailable=missing + lacking,
            matches=matches,
            difference=difference,
        )

    def _operators(
        self, name: str, bodies: tuple[str, ...], vectors: GoldenVectors
    ) -> tuple[OperatorRow, ...]:
        known = c_rows(self.artefact.path.read_bytes())
        if not known:
            return ()
        hooks = max(row.step for row in known) + 1
        definitions = (f"{name.upper()}_PROFILE", f"BENCH_OPERATORS={hooks}")
        program = f"{PROGRAM}_operators"
        results, _ = self._timed("step", program, bodies, vectors, definitions, hooks)
        return tuple(operator_row(self.bench, row, results) for row in known)

    def _furnish(self, part: str, vectors: GoldenVectors) -> str:
        """Sources in a folder of their own, and their input on the device."""
        folder = self.folder / part
        folder.mkdir()
        sources = source_files(self.artefact)
        name = model_name(sources)
        prefix = name if part == "step" else f"{name}_audio"
        furnish(folder, sources, vectors, prefix)
        self.shell.push(folder / "features.bin", f"{self.remote}/features.bin")
        return name

    def _timed(
        self,
        part: str,
        program: str,
        bodies: tuple[str, ...],
        vectors: GoldenVectors,
        definitions: tuple[str, ...] = (),
        operators: int = 0,
    ) -> tuple[RunnerResults, str]:
        """What a program reported, and its compiler."""
        build = Build(self.folder / part, program, bodies, definitions)
        compiler = install(build, self.bench.device.machine, self.shell, self.remote)
        seconds = self.request.seconds
        results = run(
            self.shell,
            self.remote,
            build.folder,
            vectors,
            program=program,
            cpu=self.bench.core.number,
            seconds=min(seconds, OPERATOR_SECONDS) if operators else seconds,
            operators=operators,
        )
        return results, compiler


def agreement(vectors: GoldenVectors, results: RunnerResults) -> tuple[bool, str]:
    """Whether every frame gave the golden values, and the first that did not.

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
