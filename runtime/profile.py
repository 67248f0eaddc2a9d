"""The profile of an artefact: every figure with where it comes from, and the fit to a target."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact, Sidecar
from runtime.benchmark import (
    BenchmarkUnavailable,
    Latency,
    measure_latency,
    measure_memory,
)
from runtime.doctor import engine_version, tool_of
from runtime.engines import engine_name, missing
from runtime.figures import ARENA_FIGURE, Figure, Provenance
from runtime.modelfile.check import checked_bytes
from runtime.profiling.arena import arena_figures
from runtime.profiling.exact import exact_figures
from runtime.profiling.machine import processor
from runtime.profiling.records import Unavailable
from targets.fit import FitReport, fit_verdict
from targets.needs import Needs
from targets.schema import Target


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Profile(_Record):
    """All that is known about one artefact on this machine."""

    artefact: str
    format: str
    sha256: str
    engines: tuple[str, ...]
    figures: tuple[Figure, ...]
    unavailable: tuple[Unavailable, ...]
    operators: dict[str, int]
    fit: FitReport | None = None

    def figure(self, name: str) -> Figure | None:
        """The figure called ``name``, None when it is not among them."""
        return next((figure for figure in self.figures if figure.name == name), None)


def profile_artefact(
    artefact: Artefact,
    *,
    engines: Sequence[str] = (),
    seconds: float = 10.0,
    target: Target | None = None,
) -> Profile:
    """Measure an artefact on this host, ``seconds`` of steps for each engine.

    Without ``engines`` the default engine of the format is measured. Raises InputError for an
    unknown or unsuitable engine, and for a model that is damaged or no engine may run; an engine
    that is not installed becomes ``unavailable``.
    """
    names = tuple(dict.fromkeys(engine_name(artefact, name) for name in engines or (None,)))
    checked_bytes(artefact)
    figures = exact_figures(artefact.sidecar)
    unavailable: list[Unavailable] = []
    for measured, lacking in (
        _latencies(artefact, names, seconds),
        _memory(artefact, names),
        arena_figures(artefact),
    ):
        figures += measured
        unavailable += lacking
    arena = next((figure for figure in figures if figure.name == ARENA_FIGURE), None)
    return Profile(
        artefact=artefact.path.name,
        format=artefact.sidecar.target,
        sha256=artefact.sidecar.model.sha256,
        engines=names,
        figures=tuple(figures),
        unavailable=tuple(unavailable),
        operators=dict(sorted(artefact.sidecar.operators.items())),
        fit=judge_fit(artefact.sidecar, target, arena) if target is not None else None,
    )


_Result = tuple[list[Figure], list[Unavailable]]


def _latencies(artefact: Artefact, names: Sequence[str], seconds: float) -> _Result:
    """Step latencies of the installed engines, all in one child."""
    figures: list[Figure] = []
    unavailable: list[Unavailable] = []
    installed = []
    for name in names:
        if engine_version(name):
            installed.append(name)
        else:
            unavailable.append(Unavailable(name=f"step [{name}]", reason=missing(name).message))
    if not installed:
        return figures, unavailable
    try:
        measured = measure_latency(artefact, installed, seconds)
    except BenchmarkUnavailable as error:
        unavailable += [
            Unavailable(name=f"step [{name}]", reason=error.message) for name in installed
        ]
        return figures, unavailable
    contract = artefact.sidecar.contract
    hop_us = 1e3 * contract.milliseconds(contract.hop)
    for latency in measured:
        figures += _latency_figures(latency, hop_us, len(installed) > 1)
    return figures, unavailable


def _latency_figures(latency: Latency, hop_us: float, interleaved: bool) -> list[Figure]:
    conditions = f"{processor()}, 1 thread, {latency.steps} steps after warm-up, own process"
    if interleaved:
        conditions += ", engines in turns"

    def figure(name: str, value: float, unit: str, what: str = "") -> Figure:
        return Figure(
            name=f"{name} [{latency.engine}]",
            value=value,
            unit=unit,
            provenance=Provenance.MEASURED_HOST,
            tool=tool_of(latency.engine),
            conditions=conditions + what,
        )

    figures = []
    for rank in ("median", "p95", "p99"):
        value = float(getattr(latency, f"{rank}_us"))
        figures.append(figure(f"step, {rank}", value, "µs", ", network alone"))
        figures.append(figure(f"step of hop, {rank}", 100.0 * value / hop_us, "%"))
    whole = ", with STFT, quantization and synthesis in Python"
    figures.append(figure("whole hop, median", latency.hop_median_us, "µs", whole))
    return figures


def _memory(artefact: Artefact, names: Sequence[str]) -> _Result:
    figures: list[Figure] = []
    unavailable: list[Unavailable] = []
    for name in names:
        label = f"peak memory [{name}]"
        if not engine_version(name):
            unavailable.append(Unavailable(name=label, reason=missing(name).message))
            continue
        try:
            memory = measure_memory(artefact, name)
        except BenchmarkUnavailable as error:
            unavailable.append(Unavailable(name=label, reason=error.message))
            continue
        parts = (
            (label, memory.peak_bytes, "VmHWM − VmRSS in its own process, library excluded"),
            (f"library memory [{name}]", memory.library_bytes, "VmRSS of importing the engine"),
        )
        for part, value, conditions in parts:
            figures.append(
                Figure(
                    name=part,
                    value=value,
                    unit="bytes",
                    provenance=Provenance.MEASURED_HOST,
                    tool=f"/proc/self/status, {tool_of(name)}",
                    conditions=conditions,
                )
            )
    return figures, unavailable


def judge_fit(sidecar: Sidecar, target: Target, arena: Figure | None) -> FitReport:
    """The fit verdict of an artefact; ``arena`` is its measured arena, None when unknown."""
    return fit_verdict(target, needs_of(sidecar, arena))


def needs_of(sidecar: Sidecar, arena: Figure | None = None) -> Needs:
    """What an artefact asks of a device, as far as its sidecar and its arena tell."""
    contract = sidecar.contract
    return Needs(
        format=sidecar.target,
        operators=tuple(sidecar.operators),
        parameters=sidecar.network.parameters,
        macs_per_step=sidecar.network.macs_per_step,
        hop_samples=contract.hop,
        sample_rate=contract.sample_rate,
        algorithmic_delay=contract.algorithmic_delay,
        constant_bytes=sidecar.memory.get("constants", sidecar.model.bytes),
        static_ram_bytes=sidecar.memory.get("ram"),
        arena_bytes=None if arena is None else int(arena.value),
    )
