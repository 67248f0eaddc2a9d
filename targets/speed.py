"""How long one step takes on a device: measured there, or modelled as a range.

Instructions are not cycles. Cycles are modelled where documented instruction timings were applied
to exact counts, which is the Cortex-M4 and M33, and wherever the target's profile has a ``speed``
of its own, calibrated by a board. Any other core gets no figure.

A step reads every weight once. Where the memory they lie in states its bandwidth, that time is
counted too: reading and computing may overlap wholly (the greater of both) or not at all (their
sum).
"""

from __future__ import annotations

from dataclasses import dataclass

from targets.needs import Needs
from targets.schema import Memory, Speed, Target
from targets.verdict import Basis

MODELLED_CORES = ("cortex-m4", "cortex-m33")
RANGE = (0.9, 1.3)  # of the documented model, which no board has confirmed

# Cycles per instruction of integer C on M4 and M33: documented timings at zero wait states times
# the instructions that a step of generated C executes. Float code was not modelled.
CYCLES_PER_INSTRUCTION = 1.14
COUNTED_FORMATS = ("c-int8", "c-int16x8")

# Cycles per multiply-accumulate, where no step was simulated: instructions per MAC times the above.
# Interpreter (with CMSIS-NN): 516 k instructions for 97 k MACs. Generated C: 2.28 (int8) and 2.63
# (int16x8) per MAC for the preset tiny; the larger small needs 1.78 and 1.96.
CYCLES_PER_MAC = {"tflite-int8": 6.1, "c-int8": 2.6, "c-int16x8": 3.0}

# Memories that no processor here reads without waiting: their bandwidth has to be known.
SLOW_KINDS = ("external-flash", "external-ram")


@dataclass(frozen=True)
class Cycles:
    """Least and greatest cycles of a step without waiting for weights, and how they were had."""

    low: float
    high: float
    how: str


@dataclass(frozen=True)
class StepTime:
    """Least and greatest time of a step in µs. Without a greatest, ``missing`` says what lacks."""

    low_us: float
    high_us: float | None
    basis: Basis
    how: str
    missing: str = ""


def step_time(target: Target, needs: Needs, weights: Memory | None) -> StepTime:
    """The time of a step whose weights lie in ``weights``, None where that is not known.

    What was measured on the device decides; the time of reading weights is in it.
    """
    if needs.p99_us is not None:
        how = "99th percentile, measured on the device"
        return StepTime(needs.p99_us, needs.p99_us, "measured-device", how)
    if needs.npu_us is not None:
        return _npu_time(needs.npu_us, needs.npu_macs_share)
    cycles = step_cycles(target, needs)
    reading_us = reading_time(needs, weights)
    how, missing, low, high = "", "", 0.0, None
    if isinstance(cycles, str):
        missing = cycles
    elif target.clock_mhz is None:
        missing = "the clock (clock_mhz of the profile)"
    else:
        low, high = cycles.low / target.clock_mhz, cycles.high / target.clock_mhz
        how = f"{cycles.how} at {target.clock_mhz:g} MHz"
    if reading_us is not None and weights is not None:
        low = max(low, reading_us)
        high = None if high is None else high + reading_us
        read = (
            f"{needs.constant_bytes:,} bytes of weights over {weights.read_mb_s:g} MB/s "
            f"({weights.name}) take {reading_us / 1e3:.3g} ms"
        )
        how = "; ".join(filter(None, (how, read)))
    elif weights is not None and weights.kind in SLOW_KINDS and high is not None:
        high, missing = None, f"how fast weights are read (read_mb_s of {weights.name})"
    return StepTime(low, high, "modelled" if how else "none", how, missing)


def _npu_time(span_us: tuple[float, float], share: float | None) -> StepTime:
    """The time on an NPU, its memories included; what stays on the CPU comes on top."""
    low, high = span_us
    if share == 1.0:
        return StepTime(low, high, "modelled", "on the NPU, as its compiler models it")
    part = "an unknown part" if share is None else f"{share:.1%}"
    how = f"{part} of the MACs on the NPU, as its compiler models it"
    return StepTime(low, None, "modelled", how, "what the operators left on the CPU take")


def reading_time(needs: Needs, weights: Memory | None) -> float | None:
    """µs in which a step reads its weights once, None where no bandwidth is stated."""
    if weights is None or weights.read_mb_s is None or needs.constant_bytes is None:
        return None
    return needs.constant_bytes / weights.read_mb_s  # bytes over MB/s are µs


def step_cycles(target: Target, needs: Needs) -> Cycles | str:
    """Cycles of a step on the target's core, or what is missing and how to get it."""
    own = next((speed for speed in target.speeds if speed.format == needs.format), None)
    if own is not None:
        return _by_profile(own, target, needs)
    if target.core not in MODELLED_CORES:
        model = f"a calibrated cycle model of {target.core}" if target.core else "its core"
        return f"{model} (measure a step on the device: {how_to_measure(target)})"
    documented = "documented cycles at zero wait states, −10/+30 %"
    if needs.instructions is not None and needs.format in COUNTED_FORMATS:
        count = CYCLES_PER_INSTRUCTION * needs.instructions
        how = f"{needs.instructions:,} instructions × {CYCLES_PER_INSTRUCTION}, {documented}"
    elif needs.macs_per_step is None:
        return "the work of a step"
    elif needs.format in CYCLES_PER_MAC:
        per_mac = CYCLES_PER_MAC[needs.format]
        count = per_mac * needs.macs_per_step
        how = f"{needs.macs_per_step:,} MACs × {per_mac} ({_runner(needs.format)}), {documented}"
    else:
        modelled = ", ".join(CYCLES_PER_MAC)
        return (
            f"a cycle model of {needs.format}, there are {modelled} only "
            f"(measure a step on the device: {how_to_measure(target)})"
        )
    return Cycles(count * RANGE[0], count * RANGE[1], how)


def _by_profile(speed: Speed, target: Target, needs: Needs) -> Cycles | str:
    """Cycles by a speed that the profile states for the artefact's format."""
    known = (
        (speed.cycles_per_instruction, needs.instructions, "instructions"),
        (speed.cycles_per_mac, needs.macs_per_step, "MACs"),
    )
    for cycles, count, unit in known:
        if cycles is not None and count is not None:
            low, high = cycles
            how = f"{count:,} {unit} × {low:g} to {high:g} cycles ({target.name}, {speed.basis})"
            return Cycles(low * count, high * count, how)
    return f"the instructions of a step (simulate it: --on simulator:{target.core})"


def how_to_measure(target: Target) -> str:
    """The option of `sordino profile` that reaches devices of the target's class."""
    reached = {"phone": "--on adb", "single-board-computer": "--on ssh:USER@HOST"}
    return reached.get(target.device_class or "", "--on serial:PORT")


def _runner(artefact_format: str) -> str:
    return "generated C" if artefact_format.startswith("c-") else "TFLM with CMSIS-NN"
