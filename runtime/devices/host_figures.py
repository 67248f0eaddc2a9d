"""Measurements of this host as figures, each with the conditions it was taken under."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from runtime.artefact import Artefact
from runtime.benchmark import Environment, Loading, OperatorTimes, Turns
from runtime.contestants import HOP, HOP_IN_C, STEP
from runtime.devices.host_operators import C_NOTE, ONNX_NOTE, OperatorTime
from runtime.doctor import tool_of
from runtime.figures import Figure, Provenance
from runtime.profiling.machine import processor
from runtime.profiling.records import OperatorRow, Unavailable
from runtime.timing import Distribution, Durations, distribution, ratio_of_medians

WHAT = {
    HOP: "with STFT, features, quantization, states, mask and synthesis, through Python",
    HOP_IN_C: "the generated audio path, called and timed in C",
}
NETWORK = {
    "native": "network alone, called and timed in C, states in place",
    "onnxruntime": "network alone, inputs and outputs passed by its Python interface",
}
FED = "network alone, inputs copied in before"


def conditions_of(turns: Turns, cpu: int | None) -> str:
    """What holds for every timing of one run."""
    told = [processor(), "1 thread", "not pinned (this system cannot)"]
    if cpu is not None:
        told[-1] = f"pinned to CPU {cpu}"
    told += ["own process", "after warm-up"]
    if sum(bool(parts) for parts in turns.durations) > 1:
        told.append("in turns")
    if turns.before is not None and turns.after is not None:
        told += _circumstances(turns.before, turns.after)
    return ", ".join(told)


def _circumstances(before: Environment, after: Environment) -> list[str]:
    told = [f"load {before.load:.2f} before, {after.load:.2f} after"]
    told.append(f"governor {after.governor}" if after.governor else "governor not readable")
    if before.khz and after.khz:
        told.append(f"clock {before.khz / 1e3:.0f} MHz before, {after.khz / 1e3:.0f} after")
    told.append(f"interrupted {after.interruptions - before.interruptions} times")
    return told


def turn_figures(
    artefact: Artefact, engine: str, durations: Mapping[str, Durations], conditions: str
) -> list[Figure]:
    """Percentiles of a step and a whole hop, in µs and as a part of the hop's time, and the share
    of all that is not the network."""
    contract = artefact.sidecar.contract
    hop_us = 1e3 * contract.milliseconds(contract.hop)
    figures = []
    for part, taken in durations.items():
        found = distribution(taken)
        what = NETWORK.get(engine, FED) if part == STEP else WHAT[part]
        about = "; ".join((_spread(found), what, conditions))
        median, *others = _percentiles(part, engine, found, hop_us, about)
        figures += [median.model_copy(update={"spread": _usual(taken)}), *others]
    for whole, name in ((HOP, "streaming share"), (HOP_IN_C, "streaming share in C")):
        if STEP in durations and whole in durations:
            ratio = ratio_of_medians(durations[STEP], durations[whole])
            about = f"1 − median step / median {whole}, 95 % interval; {conditions}"
            share = _measured(f"{name} [{engine}]", 100 * (1 - ratio.value), "%", engine, about)
            bounds = {"low": 100.0 * (1.0 - ratio.high), "high": 100.0 * (1.0 - ratio.low)}
            figures.append(share.model_copy(update=bounds))
    return figures


def _usual(taken: Durations) -> tuple[float, float]:
    """Between which values nine of ten rounds had their median, in µs."""
    low, high = np.percentile(np.median(taken, axis=1) / 1e3, (5, 95))
    return float(low), float(high)


def _spread(found: Distribution) -> str:
    return (
        f"{found.count} in {found.rounds} rounds, whose medians are "
        f"{found.calmest:.4g} to {found.busiest:.4g} µs"
    )


def _percentiles(
    part: str, engine: str, found: Distribution, hop_us: float, conditions: str
) -> list[Figure]:
    figures = []
    for rank in ("median", "p95", "p99"):
        value = float(getattr(found, rank))
        figure = _measured(f"{part}, {rank} [{engine}]", value, "µs", engine, conditions)
        if rank == "median":
            figure = figure.model_copy(update={"low": found.least, "high": found.greatest})
        figures.append(figure)
        if part == STEP:
            name = f"step of hop, {rank} [{engine}]"
            figures.append(_measured(name, 100.0 * value / hop_us, "%", engine, conditions))
    return figures


def loading_figures(engine: str, loading: Loading) -> tuple[list[Figure], list[Unavailable]]:
    """Load time and memory."""
    name = f"compile and load [{engine}]" if engine == "native" else f"load [{engine}]"
    about = "once in a fresh process, from the checked file to the end of a first step"
    figures = [_measured(name, loading.load_ms, "ms", engine, f"{about}, library imported before")]
    parts = (
        (
            f"peak memory [{engine}]",
            loading.peak_bytes,
            "VmHWM − VmRSS in its own process, library excluded",
        ),
        (f"library memory [{engine}]", loading.library_bytes, "VmRSS of importing the engine"),
    )
    lacking = []
    for part, value, conditions in parts:
        if value is None:
            lacking.append(Unavailable(name=part, reason=loading.reason))
            continue
        tool = f"/proc/self/status, {tool_of(engine)}"
        figures.append(
            _measured(part, value, "bytes", engine, conditions).model_copy(update={"tool": tool})
        )
    return figures, lacking


def operator_rows(engine: str, times: OperatorTimes) -> tuple[OperatorRow, ...]:
    """Operators in the order in which they run."""
    note = C_NOTE if engine == "native" else ONNX_NOTE
    rows = [OperatorTime.model_validate(entry) for entry in times.operators]
    return tuple(
        OperatorRow(
            step=row.step,
            kind=row.kind,
            output=row.output,
            shape=row.shape,
            macs=row.macs,
            value=row.median_us,
            low=row.least_us,
            high=row.greatest_us,
            unit="µs",
            provenance=Provenance.MEASURED_HOST,
            note=f"{note}; {times.frames} frames",
        )
        for row in rows
    )


def _measured(name: str, value: float, unit: str, engine: str, conditions: str) -> Figure:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}")
    return Figure(
        name=name,
        value=value,
        unit=unit,
        provenance=Provenance.MEASURED_HOST,
        tool=tool_of(engine),
        conditions=conditions,
    )
