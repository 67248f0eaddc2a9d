"""The profile of an artefact: every figure with where it comes from, and the fit to a target."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact, Sidecar
from runtime.benchmark import (
    BenchmarkUnavailable,
    Latency,
    measure_arena,
    measure_latency,
    measure_memory,
)
from runtime.doctor import engine_version
from runtime.engines import ENGINES, engine_name, missing
from runtime.figures import ARENA_FIGURE, Figure, Provenance
from runtime.modelfile.check import checked_bytes
from targets.fit import FitReport, arena_with_margin, fit_verdict
from targets.needs import Needs
from targets.schema import Target

ARENA_NOTE = (
    "TFLM arena, estimated ±10 %, kernel scratch excluded; interpreter of a 64-bit host, "
    "a device differs"
)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Unavailable(_Record):
    """A figure that could not be had here, and why."""

    name: str
    reason: str


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


def exact_figures(sidecar: Sidecar) -> list[Figure]:
    """Figures that follow from the file and its sidecar."""
    contract, network = sidecar.contract, sidecar.network
    steps_per_second = contract.steps_per_second
    exporter = f"sidecar, sordino {sidecar.tools.get('sordino', 'of unknown version')}"

    def exact(name: str, value: float, unit: str, tool: str, conditions: str = "") -> Figure:
        return Figure(
            name=name,
            value=value,
            unit=unit,
            provenance=Provenance.EXACT,
            tool=tool,
            conditions=conditions,
        )

    return [
        *_sizes(sidecar, exact),
        exact("parameters", network.parameters, "", exporter),
        exact("work per step", network.macs_per_step, "MAC", exporter, "one hop, one channel"),
        exact(
            "work per second",
            network.macs_per_step * steps_per_second,
            "MAC/s",
            exporter,
            f"{steps_per_second:g} steps/s",
        ),
        exact("hop", contract.milliseconds(contract.hop), "ms", "contract"),
        exact(
            "algorithmic delay",
            contract.milliseconds(contract.algorithmic_delay),
            "ms",
            "contract",
            "the synthesis window, no look-ahead",
        ),
    ]


def _sizes(sidecar: Sidecar, exact: Callable[..., Figure]) -> list[Figure]:
    """The file a device stores, or what C takes once compiled."""
    if not sidecar.memory:
        return [exact("model size", sidecar.model.bytes, "bytes", "file size")]
    return [
        exact(
            "constants", sidecar.memory["constants"], "bytes", "generator", "flash, without code"
        ),
        exact("static RAM", sidecar.memory["ram"], "bytes", "generator", "states and arena"),
    ]


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


def arena_figures(artefact: Artefact) -> tuple[list[Figure], list[Unavailable]]:
    """TFLM's arena as measured and as recommended, or why it is not known here."""
    name = ARENA_FIGURE
    info = ENGINES["tflm"]
    if artefact.sidecar.memory:
        return [], []  # C plans its memory itself: its figures are exact
    if artefact.path.suffix.lower() != info.suffix:
        return [], [Unavailable(name=name, reason=f"TFLM runs {info.suffix} models only.")]
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
    recommended = Figure(
        name="TFLM arena to reserve",
        value=arena_with_margin(arena.total_bytes),
        unit="bytes",
        provenance=Provenance.MODELLED,
        tool=tool,
        conditions="the arena above plus max(2 KiB, 5 %), a multiple of 16",
    )
    return [measured, recommended], []


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


def tool_of(engine: str) -> str:
    """The package behind an engine and its version."""
    return f"{ENGINES[engine].distribution or 'C compiler'} {engine_version(engine)}"


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
