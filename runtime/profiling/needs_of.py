"""What an artefact asks of a device, from its sidecar and the figures found so far.

A figure counts for a target only where it speaks of it: a simulation of the target's own core, and
a measurement through a backend that reaches devices of the target's class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod
from typing import Literal

from runtime.artefact import Sidecar, TensorSpec
from runtime.devices.cores import ALIKE
from runtime.figures import ARENA_FIGURE, Figure, Provenance
from targets.needs import Needs
from targets.placement import WITH_PROCESSES
from targets.remedies import advise
from targets.schema import Target
from targets.verdict import FitReport

# Which backends reach devices of a class.
REACHED_BY: dict[str, tuple[str, ...]] = {
    "phone": ("adb", "ssh"),
    "single-board-computer": ("ssh", "adb"),
    "microcontroller": ("serial",),
    "board": ("serial",),
    "hearing-aid": ("serial",),
    "simulated": (),
}
ITEM_BYTES = {"int8": 1, "int16": 2, "float32": 4}
_NAMED = re.compile(r"(?P<what>[^\[]+?) \[(?P<place>.+)\]")


def judge(
    sidecar: Sidecar, figures: Sequence[Figure], target: Target, siblings: Sequence[Needs] = ()
) -> FitReport:
    """The fit of an artefact to a target, with all that ``figures`` tell of it.

    ``siblings`` are the needs of other formats of the same network, which may be its remedy.
    """
    return advise(target, needs_of(sidecar, figures, target), siblings)


def needs_of(sidecar: Sidecar, figures: Sequence[Figure], target: Target) -> Needs:
    """What an artefact asks of ``target``; what neither sidecar nor figures tell is None."""
    contract = sidecar.contract
    core = simulated_core(target)
    constants = sidecar.memory.get("constants", sidecar.model.bytes)
    flash = _simulated(figures, "flash", core)
    process = _process(figures, target)
    return Needs(
        format=sidecar.target,
        operators=tuple(sidecar.operators),
        parameters=sidecar.network.parameters,
        macs_per_step=sidecar.network.macs_per_step,
        hop_samples=contract.hop,
        sample_rate=contract.sample_rate,
        algorithmic_delay=contract.algorithmic_delay,
        constant_bytes=constants,
        code_bytes=None if flash is None else max(0, flash - constants),
        static_ram_bytes=sidecar.memory.get("ram"),
        arena_bytes=_arena(figures),
        stack_bytes=_simulated(figures, "stack of a step", core),
        process_bytes=process and int(process.value),
        process_basis=_basis(process),
        io_bytes=_io_bytes(sidecar),
        instructions=_simulated(figures, "step, maximum", core),
        p99_us=_p99_us(figures, target),
    )


def simulated_core(target: Target) -> str:
    """The core that stands for the target's in simulation, empty where it names none."""
    return ALIKE.get(target.core, target.core)


def _simulated(figures: Sequence[Figure], what: str, core: str) -> int | None:
    """A simulated figure of ``core``, whatever else its brackets name, such as a compiler."""
    for figure, name, place in _named(figures, Provenance.SIMULATED):
        if name == what and core and core == place:
            return int(figure.value)
    return None


def _arena(figures: Sequence[Figure]) -> int | None:
    found = (figure for figure in figures if figure.name == ARENA_FIGURE)
    return next((int(figure.value) for figure in found), None)


def _process(figures: Sequence[Figure], target: Target) -> Figure | None:
    """Peak memory of a process, on devices that have such: measured there, or else on this host;
    of several the greatest."""
    if target.device_class not in WITH_PROCESSES:
        return None
    for provenance in (Provenance.MEASURED_DEVICE, Provenance.MEASURED_HOST):
        found = [
            figure
            for figure, name, place in _named(figures, provenance)
            if name == "peak memory" and _reaches(place, provenance, target)
        ]
        if found:
            return max(found, key=lambda figure: figure.value)
    return None


def _basis(figure: Figure | None) -> Literal["measured-device", "measured-host"]:
    on_device = figure is not None and figure.provenance is Provenance.MEASURED_DEVICE
    return "measured-device" if on_device else "measured-host"


def _reaches(place: str, provenance: Provenance, target: Target) -> bool:
    """Whether a measurement in ``place`` speaks of the target."""
    if provenance is Provenance.MEASURED_HOST:
        return True
    return place.partition(" ")[0] in REACHED_BY.get(target.device_class or "", ())


def _io_bytes(sidecar: Sidecar) -> int:
    """Features and mask of a C model, which the caller holds; an interpreter's are in its arena."""
    if not sidecar.memory:
        return 0
    return _bytes(sidecar.inputs[0]) + _bytes(sidecar.outputs[0])


def _bytes(tensor: TensorSpec) -> int:
    return prod(tensor.shape) * ITEM_BYTES[tensor.dtype]


def _p99_us(figures: Sequence[Figure], target: Target) -> float | None:
    """The 99th percentile of a step on a device of the target's class; of several, the greatest."""
    found = [
        time
        for figure, name, place in _named(figures, Provenance.MEASURED_DEVICE)
        if name == "step, p99" and _reaches(place, Provenance.MEASURED_DEVICE, target)
        if (time := _microseconds(figure, target)) is not None
    ]
    return max(found, default=None)


def _microseconds(figure: Figure, target: Target) -> float | None:
    """A time in µs; cycles count at the target's clock."""
    if figure.unit == "µs":
        return figure.value
    if figure.unit == "cycles" and target.clock_mhz is not None:
        return figure.value / target.clock_mhz
    return None


def _named(figures: Sequence[Figure], provenance: Provenance) -> Iterator[tuple[Figure, str, str]]:
    """Figures of a class that carry a place, with the two parts of their names."""
    for figure in figures:
        match = _NAMED.fullmatch(figure.name)
        if match and figure.provenance is provenance:
            yield figure, match["what"], match["place"]
