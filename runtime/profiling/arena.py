"""TFLM's arena: as measured on this host, and as it should be reserved."""

from __future__ import annotations

from runtime.artefact import Artefact
from runtime.benchmark import BenchmarkUnavailable, measure_arena
from runtime.doctor import engine_version, tool_of
from runtime.engines import ENGINES, missing
from runtime.figures import ARENA_FIGURE, Figure, Provenance
from runtime.profiling.records import Unavailable
from targets.fit import arena_with_margin

ARENA_NOTE = (
    "TFLM arena, estimated ±10 %, kernel scratch excluded; interpreter of a 64-bit host, "
    "a device differs"
)


def arena_figures(artefact: Artefact) -> tuple[list[Figure], list[Unavailable]]:
    """TFLM's arena as measured and as recommended, or why it is not known here."""
    name = ARENA_FIGURE
    if artefact.path.suffix.lower() != ENGINES["tflm"].suffix:
        return [], []  # another runtime's; generated C plans its memory, so its figures are exact
    if not engine_version("tflm"):
        error = missing("tflm")
        return [], [Unavailable(name=name, reason=f"{error.message} {error.hint}")]
    try:
        arena = measure_arena(artefact)
    except BenchmarkUnavailable as reason:
        return [], [Unavailable(name=name, reason=reason.message)]
    tool = f"{tool_of('tflm')}, recording allocator"
    measured = Figure(
        name=name,
        value=arena.total_bytes,
        unit="bytes",
        provenance=Provenance.MEASURED_HOST,
        tool=tool,
        conditions=ARENA_NOTE,
    )
    reserve = arena_with_margin(arena.total_bytes)
    recommended = Figure(
        name="TFLM arena to reserve",
        value=reserve,
        unit="bytes",
        provenance=Provenance.MODELLED,
        tool=tool,
        conditions="the arena above plus max(2 KiB, 5 %), a multiple of 16",
        low=reserve,
        high=reserve,
    )
    return [measured, recommended], []
