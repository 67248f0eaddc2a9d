"""What was measured on a Linux or Android device, as figures with class and conditions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from runtime.artefact import Artefact
from runtime.devices.linux_device import Core, Device
from runtime.devices.linux_litert import TOOL, BenchmarkTool, LiteRtTimings
from runtime.devices.linux_runner import RunnerResults
from runtime.figures import Figure, Provenance
from runtime.profiling.records import OperatorRow, Reading, Unavailable

STEADY = 0.02  # frequencies that differ by less are one
EMULATED = "the processor is emulated: what that takes says nothing of a device"
RANKS = {"median": 50.0, "p95": 95.0, "p99": 99.0}

Figures = tuple[tuple[Figure, ...], tuple[Unavailable, ...]]


@dataclass(frozen=True)
class Bench:
    """A core of a device, and as what the figures from there are reported."""

    name: str  # of the shell, in the names of figures: "ssh pi@host"
    backend: str
    address: str
    device: Device
    core: Core

    @cached_property
    def provenance(self) -> Provenance:
        """A device that is this machine under another name is no device."""
        here = self.device.is_this_machine
        return Provenance.MEASURED_HOST if here else Provenance.MEASURED_DEVICE

    def figure(
        self,
        name: str,
        value: float,
        unit: str,
        tool: str,
        conditions: str,
        span: tuple[float, float] | None = None,
    ) -> Figure:
        return Figure(
            name=f"{name} [{self.name}]",
            value=value,
            unit=unit,
            provenance=self.provenance,
            tool=tool,
            conditions=f"{self.device}, {conditions}",
            low=span[0] if span else None,
            high=span[1] if span else None,
        )

    def unavailable(self, name: str, reason: str) -> Unavailable:
        return Unavailable(name=f"{name} [{self.name}]", reason=reason)

    def reading(
        self,
        *,
        figures: tuple[Figure, ...] = (),
        operators: tuple[OperatorRow, ...] = (),
        unavailable: tuple[Unavailable, ...] = (),
        matches: bool | None = None,
        difference: str = "",
    ) -> Reading:
        return Reading(
            backend=self.backend,
            place=self.address,
            figures=figures,
            operators=operators,
            unavailable=unavailable,
            matches=matches,
            difference=difference,
        )

    def nothing(self, reason: str) -> Reading:
        """The reading of an artefact that was not run."""
        return self.reading(unavailable=(self.unavailable("step", reason),))

    def share(self, artefact: Artefact, step: float, tool: str, conditions: str) -> Figure:
        """How much of a hop a step of ``step`` µs takes."""
        contract = artefact.sidecar.contract
        hop = 1e6 * contract.hop / contract.sample_rate
        told = f"a hop is {hop / 1e3:g} ms, {conditions}"
        return self.figure("step of hop", 100.0 * step / hop, "%", tool, told)


def step_figures(
    bench: Bench, artefact: Artefact, results: RunnerResults, compiler: str
) -> Figures:
    """Percentiles of a step, its share of a hop, and peak memory, of generated C.

    Of an emulated processor none of them: it is the emulator that they would tell of.
    """
    figures, missing = _percentiles(bench, "step", results, compiler)
    if missing:
        more = (bench.unavailable(name, EMULATED) for name in ("step of hop", "peak memory"))
        return (), (*missing, *more)
    p99 = figures[-1]
    told = f"p99 of a step; {_conditions(bench, 'steps', results)}"
    figures = (*figures, bench.share(artefact, p99.value, p99.tool, told))
    if not results.memory:
        return figures, (bench.unavailable("peak memory", "the kernel shows no VmHWM"),)
    whole = "the whole process with libraries, after the golden frames"
    memory = bench.figure("peak memory", results.memory, "bytes", p99.tool, whole)
    return (*figures, memory), ()


def audio_figures(bench: Bench, results: RunnerResults, compiler: str) -> Figures:
    """Percentiles of a whole hop of sound: window, FFT, features, step, mask, inverse FFT."""
    return _percentiles(bench, "hop of audio", results, compiler)


def _percentiles(bench: Bench, what: str, results: RunnerResults, compiler: str) -> Figures:
    steps = results.steps
    if results.emulated or bench.device.emulated or steps is None:
        return (), tuple(bench.unavailable(f"{what}, {name}", EMULATED) for name in RANKS)
    conditions = _conditions(bench, "steps" if what == "step" else "hops", results)
    tool = f"generated C, {compiler}"
    span = results.minimum / 1e3, results.maximum / 1e3
    values = {name: min(steps.percentile(rank) / 1e3, span[1]) for name, rank in RANKS.items()}
    return tuple(
        bench.figure(
            f"{what}, {name}", value, "µs", tool, conditions, span if name == "median" else None
        )
        for name, value in values.items()
    ), ()


def _conditions(bench: Bench, unit: str, results: RunnerResults) -> str:
    return (
        f"{core_in_words(bench.core, results)}; {results.timed:,} {unit} on one thread after "
        f"{results.warm_up:,}, two readings of the clock included ({results.clock} ns)"
    )


def operator_row(bench: Bench, row: OperatorRow, results: RunnerResults) -> OperatorRow:
    """``row`` with the time of the operator in every round, less what reading the clock takes."""
    taken = results.operators[:, row.step].astype(np.float64) - results.clock
    micros = taken.clip(0.0) / 1e3
    measured = {
        "value": float(np.median(micros)),
        "low": float(micros.min()),
        "high": float(micros.max()),
        "unit": "µs",
        "provenance": bench.provenance,
    }
    return row.model_copy(update=measured)


def litert_figures(
    bench: Bench, artefact: Artefact, tool: BenchmarkTool, timings: LiteRtTimings
) -> Figures:
    """What benchmark_model printed. A percentile that it did not print is unavailable."""
    pinned = tool.pinning or "not pinned, for the device has no taskset"
    conditions = (
        f"{core_in_words(bench.core)}, {pinned}; {timings.runs:,} runs on one thread, random "
        f"input, standard deviation {timings.deviation:g} µs"
    )
    name = f"{TOOL}{' with XNNPACK' if timings.xnnpack else ''}"
    span = timings.minimum, timings.maximum
    figures = [bench.figure("step, mean", timings.mean, "µs", name, conditions, span)]
    missing = [bench.unavailable("step, p99", f"{TOOL} does not print it")]
    for label, value in (("step, median", timings.median), ("step, p95", timings.p95)):
        if value is None:
            missing.append(bench.unavailable(label, f"this {TOOL} does not print it"))
        else:
            figures.append(bench.figure(label, value, "µs", name, conditions))
    high, which = (timings.mean, "mean") if timings.p95 is None else (timings.p95, "p95")
    figures.append(bench.share(artefact, high, name, f"{which} of a step; {conditions}"))
    if timings.load is not None:
        figures.append(bench.figure("load", timings.load, "µs", name, conditions))
    if timings.memory is None:
        missing.append(bench.unavailable("peak memory", f"{TOOL} did not print it"))
    else:
        told = "growth of the greatest resident size since the start of the tool, about"
        figures.append(bench.figure("peak memory", timings.memory, "bytes", name, told))
    return tuple(figures), tuple(missing)


def core_in_words(core: Core, results: RunnerResults | None = None) -> str:
    """The core, its frequency before and after timing, and who governs it."""
    told = f"core {core.number}"
    if results is not None and results.before and results.after:
        first, last = results.before / 1e3, results.after / 1e3
        steady = abs(last - first) <= STEADY * first
        told += f" at {last:,.0f} MHz" if steady else f" at {first:,.0f} to {last:,.0f} MHz"
    elif core.fastest_khz:
        told += f", frequency not read (at most {core.fastest_khz / 1e3:,.0f} MHz)"
    else:
        told += ", frequency unknown"
    return told + (f", governor {core.governor}" if core.governor else "")
