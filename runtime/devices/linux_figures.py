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
TIMES = ("step, median", "step, p95", "step, p99", "step of hop", "peak memory")

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

    def share(
        self, artefact: Artefact, step: float, which: str, tool: str, conditions: str
    ) -> Figure:
        """How much of a hop a step of ``step`` µs takes."""
        contract = artefact.sidecar.contract
        hop = 1e6 * contract.hop / contract.sample_rate
        told = f"{which} of a step in a hop of {hop / 1e3:g} ms; {conditions}"
        return self.figure("step of hop", 100.0 * step / hop, "%", tool, told)


def c_figures(bench: Bench, artefact: Artefact, results: RunnerResults, compiler: str) -> Figures:
    """Percentiles of a step, its share of a hop, and peak memory, of generated C.

    Of an emulated processor none of them: it is the emulator that they would tell of.
    """
    if results.emulated or bench.device.emulated or results.steps is None:
        return (), tuple(bench.unavailable(name, EMULATED) for name in TIMES)
    conditions = (
        f"{core_in_words(bench.core, results)}; {results.timed:,} steps on one thread after "
        f"{results.warm_up:,}, two readings of the clock included ({results.clock} ns)"
    )
    tool = f"generated C, {compiler}"
    span = results.minimum / 1e3, results.maximum / 1e3
    median, p95, p99 = (
        min(results.steps.percentile(percent) / 1e3, span[1]) for percent in (50, 95, 99)
    )
    figures = [
        bench.figure("step, median", median, "µs", tool, conditions, span),
        bench.figure("step, p95", p95, "µs", tool, conditions),
        bench.figure("step, p99", p99, "µs", tool, conditions),
        bench.share(artefact, p99, "p99", tool, conditions),
    ]
    if not results.memory:
        return tuple(figures), (bench.unavailable("peak memory", "the kernel shows no VmHWM"),)
    whole = "the whole process with libraries, after the golden frames"
    figures.append(bench.figure("peak memory", results.memory, "bytes", tool, whole))
    return tuple(figures), ()


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
    figures.append(bench.share(artefact, high, which, name, conditions))
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
