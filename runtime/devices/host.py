"""This machine as a place to profile: engines timed in turns in one child process, loading and
memory of each in a child of its own, operators where the engine tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.artefact import Artefact
from runtime.benchmark import (
    BenchmarkUnavailable,
    Contestant,
    Turns,
    chosen_cpu,
    measure_loading,
    measure_operators,
    time_in_turns,
)
from runtime.contestants import STEP
from runtime.devices.children import ToolMissing
from runtime.devices.host_figures import (
    conditions_of,
    loading_figures,
    operator_rows,
    turn_figures,
)
from runtime.devices.host_operators import REASONS
from runtime.doctor import engine_version
from runtime.engines import engine_name, engine_names, missing
from runtime.figures import Figure, Provenance
from runtime.modelfile.check import checked_bytes
from runtime.modelfile.refusal import ModelRefused
from runtime.profiling.arena import arena_figures
from runtime.profiling.backends import Findings, Request
from runtime.profiling.labels import labels
from runtime.profiling.records import OperatorRow, Ratio, Reading, Unavailable
from runtime.timing import ratio_of_medians
from targets.errors import SordinoError

BACKEND = "host"
TFLM = "tflm"


@dataclass(frozen=True)
class Entry:
    """One artefact in one engine."""

    artefact: int
    engine: str


def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
    """Time, load and take apart every artefact in the engines asked for, by default the first of
    its format; ``request.seconds`` for each.

    What an engine cannot give is unavailable, with the reason. Raises InputError for an engine or
    CPU that is not to be had and for a damaged model, ModelRefused when no engine would run any of
    the artefacts, ToolMissing when none of the engines is installed.
    """
    asked = entries(artefacts, request.engines)
    cpu = chosen_cpu(request.cpu)
    for artefact in artefacts:
        checked_bytes(artefact)
    installed = [entry for entry in asked if engine_version(entry.engine)]
    if not installed:
        lacking = missing(asked[0].engine)
        raise ToolMissing(lacking.message, hint=lacking.hint)
    contestants = [Contestant(artefacts[entry.artefact], entry.engine) for entry in installed]
    turns = time_in_turns(contestants, request.seconds, cpu)
    _refuse_if_nothing_ran(turns)
    conditions = conditions_of(turns, cpu)
    readings: list[list[Reading]] = [[] for _ in artefacts]
    for entry in asked:
        artefact = artefacts[entry.artefact]
        if entry in installed:
            at = installed.index(entry)
            reading = _reading(artefact, entry.engine, turns, at, conditions, cpu)
        else:
            reading = _not_installed(entry.engine)
        readings[entry.artefact].append(reading)
    for artefact, found in zip(artefacts, readings, strict=True):
        _add_arena(artefact, found)
    names = labels(artefacts)
    called = [f"{names[entry.artefact]} [{entry.engine}]" for entry in installed]
    return Findings(tuple(map(tuple, readings)), ratios(called, turns))


def entries(artefacts: Sequence[Artefact], engines: Sequence[str]) -> list[Entry]:
    """Which artefact runs in which engines: of those asked for all that take its format.

    Raises InputError for an engine that is unknown or takes none of the artefacts, and for an
    artefact that none of them takes.
    """
    if not engines:
        return [Entry(at, engine_name(each, None)) for at, each in enumerate(artefacts)]
    fitting = [set(engine_names(artefact)) for artefact in artefacts]
    for engine in engines:
        if not any(engine in names for names in fitting):
            engine_name(artefacts[0], engine)  # raises
    found = []
    for at, (artefact, names) in enumerate(zip(artefacts, fitting, strict=True)):
        chosen = [engine for engine in dict.fromkeys(engines) if engine in names]
        if not chosen:
            engine_name(artefact, engines[0])  # raises
        found += [Entry(at, engine) for engine in chosen]
    return found


def _refuse_if_nothing_ran(turns: Turns) -> None:
    """A model that no engine runs is bad input, not something this machine lacks."""
    refusals = [error for error in turns.failures.values() if isinstance(error, ModelRefused)]
    if refusals and len(refusals) == len(turns.durations):
        raise refusals[0]


def _not_installed(engine: str) -> Reading:
    error = missing(engine)
    reason = f"{error.message} {error.hint}"
    names = (f"step [{engine}]", f"load [{engine}]", f"peak memory [{engine}]")
    lacking = tuple(Unavailable(name=name, reason=reason) for name in names)
    return Reading(backend=BACKEND, place=engine, unavailable=lacking)


def _reading(
    artefact: Artefact, engine: str, turns: Turns, at: int, conditions: str, cpu: int | None
) -> Reading:
    figures: list[Figure] = []
    unavailable: list[Unavailable] = []
    if at in turns.failures:
        error = turns.failures[at]
        unavailable.append(Unavailable(name=f"step [{engine}]", reason=_words(error)))
    else:
        figures += turn_figures(artefact, engine, turns.durations[at], conditions)
    try:
        found, lacking = loading_figures(engine, measure_loading(artefact, engine, cpu))
        figures += found
        unavailable += lacking
    except (BenchmarkUnavailable, ModelRefused) as error:
        names = (f"load [{engine}]", f"peak memory [{engine}]")
        unavailable += [Unavailable(name=name, reason=_words(error)) for name in names]
    rows, reason = _operators(artefact, engine, cpu)
    if reason:
        unavailable.append(Unavailable(name=f"operators [{engine}]", reason=reason))
    return Reading(
        backend=BACKEND,
        place=engine,
        figures=tuple(figures),
        operators=rows,
        unavailable=tuple(unavailable),
    )


def _operators(
    artefact: Artefact, engine: str, cpu: int | None
) -> tuple[tuple[OperatorRow, ...], str]:
    """A row per operator, or the reason why there are none."""
    if engine in REASONS:
        return (), REASONS[engine]
    try:
        return operator_rows(engine, measure_operators(artefact, engine, cpu)), ""
    except (BenchmarkUnavailable, ModelRefused) as error:
        return (), _words(error)


def _words(error: SordinoError) -> str:
    return " ".join(filter(None, (error.message, error.hint)))


def _add_arena(artefact: Artefact, readings: list[Reading]) -> None:
    """TFLM's arena stands with its timing; it is measured even where nobody asked for that."""
    figures, lacking = arena_figures(artefact)
    if not figures and not lacking:
        return
    places = [reading.place for reading in readings]
    if TFLM not in places:
        readings.append(Reading(backend=BACKEND, place=TFLM))
        places.append(TFLM)
    at = places.index(TFLM)
    readings[at] = readings[at].model_copy(
        update={
            "figures": (*readings[at].figures, *figures),
            "unavailable": (*readings[at].unavailable, *lacking),
        }
    )


def ratios(names: Sequence[str], turns: Turns) -> tuple[Ratio, ...]:
    """Step medians of all contestants over that of the fastest, slowest last."""
    steps = {
        name: parts[STEP]
        for name, parts in zip(names, turns.durations, strict=True)
        if STEP in parts
    }
    if len(steps) < 2:
        return ()
    ranked = sorted(steps, key=lambda name: float(np.median(steps[name])))
    fastest = ranked[0]
    found = []
    for name in ranked[1:]:
        value, low, high = ratio_of_medians(steps[name], steps[fastest])
        found.append(
            Ratio(
                slower=name,
                faster=fastest,
                ratio=value,
                low=low,
                high=high,
                provenance=Provenance.MEASURED_HOST,
            )
        )
    return tuple(found)
