"""Time, cycles and energy of a step as a documented model gives them: ranges, with assumptions.

Cycles come from :mod:`targets.speed`, energy from the active current and the voltage that the
target's profile cites. Where either is unknown there is no figure, and never one per operation.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.artefact import Sidecar
from runtime.figures import Figure, Provenance
from runtime.profiling.needs_of import needs_of
from runtime.profiling.records import Reading, Unavailable
from targets.fit import average_power_mw, time_of
from targets.needs import Needs
from targets.schema import Energy, Target
from targets.speed import Cycles, StepTime, step_cycles

BACKEND = "model"
NAMES = ("step", "cycles of a step", "energy of a step", "average power")


def modelled(sidecar: Sidecar, figures: Sequence[Figure], target: Target) -> Reading:
    """What can be modelled of an artefact on ``target``, from its work or its simulation."""
    if target.kind != "device":
        reason = f"{target.name} is a format; time belongs to a device"
        return _reading(target, (), [(name, reason) for name in NAMES])
    needs = needs_of(sidecar, figures, target).model_copy(update={"p99_us": None})
    time, cycles = time_of(target, needs), step_cycles(target, needs)
    found: list[Figure] = []
    lacking: list[tuple[str, str]] = []
    if time.high_us is None:
        lacking.append(("step", f"unknown: {time.missing}"))
    else:
        found.append(_range(target, "step", (time.low_us, time.high_us), "µs", time.how))
    if isinstance(cycles, Cycles):
        bounds = (cycles.low, cycles.high)
        how = f"{cycles.how}; without waiting for weights"
        found.append(_range(target, "cycles of a step", bounds, "cycles", how))
    else:
        lacking.append(("cycles of a step", f"unknown: {cycles}"))
    _add_energy(found, lacking, target, needs, time)
    return _reading(target, found, lacking)


def _add_energy(
    found: list[Figure],
    lacking: list[tuple[str, str]],
    target: Target,
    needs: Needs,
    time: StepTime,
) -> None:
    """Energy of a step and the core's average power, or why they are not known."""
    power = average_power_mw(target, needs, time)
    if power is None or target.energy is None:
        reason = "the profile states no supply current of the core"
        if target.energy is not None:
            reason = f"unknown: {time.missing}"
        lacking += [(name, reason) for name in NAMES[2:]]
        return
    how = f"{_supply(target.energy)} for the time of a step ({time.how})"
    energy = (power[0] * needs.hop_us / 1e3, power[1] * needs.hop_us / 1e3)  # mW × ms = µJ
    rest = "sleep between steps, front end and converters not counted"
    found.append(_range(target, "energy of a step", energy, "µJ", f"{how}; {rest}"))
    hop = f"over a hop of {needs.hop_us / 1e3:g} ms"
    found.append(_range(target, "average power", power, "mW", f"{how}, {hop}; {rest}"))


def _supply(energy: Energy) -> str:
    return f"{energy.active_ua_per_mhz:g} µA/MHz × {energy.volts:g} V"


def _range(
    target: Target, name: str, bounds: tuple[float, float], unit: str, conditions: str
) -> Figure:
    low, high = bounds
    return Figure(
        name=f"{name} [{target.name}]",
        value=(low + high) / 2.0,
        unit=unit,
        provenance=Provenance.MODELLED,
        tool=f"profile of {target.name}",
        conditions=conditions,
        low=low,
        high=high,
    )


def _reading(
    target: Target, found: Sequence[Figure], lacking: Sequence[tuple[str, str]]
) -> Reading:
    return Reading(
        backend=BACKEND,
        place=target.name,
        figures=tuple(found),
        unavailable=tuple(
            Unavailable(name=f"{name} [{target.name}]", reason=reason) for name, reason in lacking
        ),
    )
