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
    "microcontroller": ("serial", "swo"),
    "board": ("serial", "swo"),
    "hearing-aid": ("serial", "swo"),
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
    code, flash = (_simulated(figures, name, core) for name in ("code", "flash"))
    constants = sidecar.memory.get("constants", sidecar.model.bytes)
    if code is not None and flash is not None:
        constants = flash - code  # as they were linked for this core
    process = _process(figures, target)
    step, hop = (_simulated(figures, f"{name}, maximum", core) for name in ("step", "hop of audio"))
    stack = _simulated(figures, "stack of a step", core)
    measured_stack = _greatest(_on_device(figures, "stack of a step", target))
    return Needs(
        format=sidecar.target,
        operators=tuple(sidecar.operators),
        parameters=sidecar.network.parameters,
        macs_per_step=sidecar.network.macs_per_step,
        hop_samples=contract.hop,
        sample_rate=contract.sample_rate,
        algorithmic_delay=contract.algorithmic_delay,
        constant_bytes=constants,
        code_bytes=code,
        static_ram_bytes=sidecar.memory.get("ram"),
        arena_bytes=_arena(figures),
        stack_bytes=stack if measured_stack is None else measured_stack,
        stack_basis="simulated" if measured_stack is None else "measured-device",
        process_bytes=process and int(process.value),
        process_basis=_basis(process),
        io_bytes=_io_bytes(sidecar),
        audio_ram_bytes=sidecar.memory.get("audio_ram", 0),
        audio_constant_bytes=sidecar.memory.get("audio_constants", 0),
        audio_instructions=None if hop is None or step is None else hop - step,
        instructions=step,
        p99_us=_p99_us(figures, target),
        npu_us=_npu_us(figures, target),
        npu_macs_share=_npu_share(figures, target),
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
    hosts = _named(figures, Provenance.MEASURED_HOST)
    found = _on_device(figures, "peak memory", target) or [
        figure for figure, name, _ in hosts if name == "peak memory"
    ]
    return max(found, key=lambda figure: figure.value, default=None)


def _basis(figure: Figure | None) -> Literal["measured-device", "measured-host"]:
    on_device = figure is not None and figure.provenance is Provenance.MEASURED_DEVICE
    return "measured-device" if on_device else "measured-host"


def _io_bytes(sidecar: Sidecar) -> int:
    """Features and mask of a C model, which the caller holds; an interpreter's are in its arena."""
    if not sidecar.memory:
        return 0
    return _bytes(sidecar.inputs[0]) + _bytes(sidecar.outputs[0])


def _bytes(tensor: TensorSpec) -> int:
    return prod(tensor.shape) * ITEM_BYTES[tensor.dtype]


def _p99_us(figures: Sequence[Figure], target: Target) -> float | None:
    """The 99th percentile of a step on a device of the target's class, by the device's own clock
    where it has one; of several devices the greatest."""
    for name in ("time of a step, p99", "step, p99"):
        times = [_microseconds(figure, target) for figure in _on_device(figures, name, target)]
        if known := [time for time in times if time is not None]:
            return max(known)
    return None


def _npu_us(figures: Sequence[Figure], target: Target) -> tuple[float, float] | None:
    """The modelled range of a step on the target's NPU."""
    for figure in _on_npu(figures, "step", target):
        if figure.low is not None and figure.high is not None:
            return figure.low, figure.high
    return None


def _npu_share(figures: Sequence[Figure], target: Target) -> float | None:
    shares = [figure.value / 100.0 for figure in _on_npu(figures, "MACs on the NPU", target)]
    return next(iter(shares), None)


def _on_npu(figures: Sequence[Figure], what: str, target: Target) -> list[Figure]:
    """Figures modelled for an NPU of the target, in its own configuration."""
    known = [part.vela for part in target.accelerators if part.vela]
    return [
        figure
        for figure, name, place in _named(figures, Provenance.MODELLED)
        if name == what
        for vela in known
        if place == vela.accelerator_config and f"{vela.system_config}, " in figure.conditions
    ]


def _on_device(figures: Sequence[Figure], what: str, target: Target) -> list[Figure]:
    """Figures measured through backends that reach devices of the target's class."""
    backends = REACHED_BY.get(target.device_class or "", ())
    return [
        figure
        for figure, name, place in _named(figures, Provenance.MEASURED_DEVICE)
        if name == what and place.partition(" ")[0] in backends
    ]


def _greatest(figures: Sequence[Figure]) -> int | None:
    return max((int(figure.value) for figure in figures), default=None)


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
