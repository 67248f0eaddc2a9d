"""C artefacts on simulated cores."""

from __future__ import annotations

from runtime.artefact import Artefact, source_files
from runtime.devices.bare_metal import simulate
from runtime.devices.compiling import CompilerName, Optimisation
from runtime.devices.golden import golden_audio, golden_vectors
from runtime.devices.simulation import OperatorLabel, SimulationReport
from runtime.generated_c import audio_source, model_name
from runtime.profiling.operators import c_rows

FRAMES = 100


def simulate_artefact(
    artefact: Artefact,
    core: str,
    *,
    frames: int = FRAMES,
    compiler: CompilerName | None = None,
    optimisation: Optimisation = "-O3",
) -> SimulationReport:
    """Run a C artefact on a simulated core, over ``frames`` frames of noise that swells and fades.

    The golden masks are those of the same sources compiled for this machine, which `verify` has
    compared with the model's other forms. Raises InputError for an artefact that is not C,
    EngineMissing without a compiler for this machine, and what :func:`simulate` raises.
    """
    vectors = golden_vectors(artefact, frames)
    sources = source_files(artefact)
    labels = labels_of(sources[artefact.path.name])
    return simulate(
        sources, vectors, core, operators=labels, compiler=compiler, optimisation=optimisation
    )


def simulate_audio(
    artefact: Artefact,
    core: str,
    *,
    frames: int = FRAMES,
    compiler: CompilerName | None = None,
    optimisation: Optimisation = "-O3",
) -> SimulationReport:
    """Run the audio path of a C artefact on a simulated core: ``frames`` hops of sound in and out.

    A step of the report is a whole hop: window, FFT, features, network, mask, inverse FFT. The
    golden sound is that of the same sources compiled for this machine. Raises what
    :func:`simulate_artefact` raises, and InputError for an artefact without an audio path.
    """
    golden = golden_audio(artefact, frames)
    sources = source_files(artefact)
    return simulate(
        sources, golden, core, call="audio", compiler=compiler, optimisation=optimisation
    )


def has_audio(artefact: Artefact) -> bool:
    """Whether the whole audio path is among the files of a C artefact."""
    files = source_files(artefact)
    return audio_source(model_name(files)) in files


def labels_of(source: bytes) -> tuple[OperatorLabel, ...]:
    """The operators of a generated NAME.c that call the profiling hook, from its comments."""
    return tuple(OperatorLabel(row.step, row.kind, row.output, row.macs) for row in c_rows(source))
