"""C artefacts on simulated cores."""

from __future__ import annotations

import re

import numpy as np

from runtime.artefact import Artefact, source_files
from runtime.devices.bare_metal import simulate
from runtime.devices.compiling import CompilerName, Optimisation
from runtime.devices.simulation import GoldenVectors, OperatorLabel, SimulationReport
from runtime.engines import open_engine
from runtime.pack_vectors import record_vectors
from runtime.probe import probe_signal
from targets.errors import InputError

FRAMES = 100
# What the generator writes above a numbered operator that calls the profiling hook:
#     /* 12: CONV_2D -> gru/state [1, 1, 1, 32], 1024 MACs; kernel 1x1 */
#     MODEL_BEGIN(12);
_OPERATOR = re.compile(
    r"/\* (\d+): (\w+) -> ([^\[\n]*?) \["  # step, operator, output
    r"[^\n]*?(?:, (\d+) MACs)?(?:;[^\n]*)? \*/\n"
    r"\s*\w+_BEGIN\(\1\);"
)


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
    if artefact.path.suffix.lower() != ".c":
        raise InputError(
            f"{artefact.path.name} is not C: a bare core runs no interpreter here.",
            hint="Export the model as c-int8 as well.",
        )
    contract = artefact.sidecar.contract
    seconds = (frames + 1) * contract.hop / contract.sample_rate
    signal = np.concatenate(probe_signal(contract, seconds))[: frames * contract.hop]
    recorded = record_vectors(artefact.sidecar, open_engine(artefact, "native"), signal)
    vectors = GoldenVectors(
        recorded.features.reshape(len(recorded.features), -1),
        recorded.mask.reshape(len(recorded.mask), -1),
    )
    sources = source_files(artefact)
    labels = labels_of(sources[artefact.path.name])
    return simulate(
        sources, vectors, core, operators=labels, compiler=compiler, optimisation=optimisation
    )


def labels_of(source: bytes) -> tuple[OperatorLabel, ...]:
    """The operators of a generated NAME.c that call the profiling hook, from its comments."""
    return tuple(
        OperatorLabel(int(step), kind, output, int(macs or 0))
        for step, kind, output, macs in _OPERATOR.findall(source.decode("utf-8", "replace"))
    )
