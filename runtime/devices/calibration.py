"""What a board showed, as the speed of its target: cycles per instruction and per MAC."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runtime.artefact import Artefact, write_atomically
from runtime.devices.bench_reading import HOOKED_STEP, STEP, stated
from runtime.figures import Figure, Provenance
from runtime.profiling.needs_of import simulated_core
from runtime.profiling.records import OperatorRow, ProfileReport, Reading, Subject
from targets.errors import GateFailed, InputError
from targets.reading import read_profile
from targets.schema import Source, Speed, Target
from targets.writing import profile_text

BENCHES = ("serial", "swo")
LEAST_SHARE = 0.01  # of a step: operators below are mostly call and loop, and decide nothing
# Where only the step was measured. Networks of one family differ by up to 1.77 in instructions per
# MAC on one core (docs/simulation.md, Cortex-M55, int8); cycles per instruction get the margin of
# the documented model in targets/speed.py.
PER_MAC_FACTOR = 1.8
PER_INSTRUCTION_RANGE = (0.9, 1.3)
CORTEX = "cortex-"  # names of other cores, such as RISC-V's letters, are not one to one
MEASURED = "; speed measured"  # at the end of a title
_OPTIMISATION = re.compile(r"(?<!\S)-O\w+")

Range = tuple[float, float]


@dataclass(frozen=True)
class _Found:
    """One artefact on a board: cycles of a step, and instructions of its simulation if any."""

    artefact: Artefact
    reading: Reading
    step: Figure  # the median, with least and greatest
    core: str
    clock_mhz: float | None
    instructions: Range | None
    counted: dict[int, float]  # instructions by operator
    doubt: str  # why there are no instructions


def calibrated(target: Target, artefacts: Sequence[Artefact], report: ProfileReport) -> Target:
    """``target`` with a measured speed for every format of ``report`` that ran on a board.

    The ranges hold over all frames and over all operators that take 1 % of a step or more; where
    the bench did not count operators they are widened, as the source of the new figures says.
    Cycles per instruction need a simulation of the same core in the same report. Raises InputError
    where no board was measured, or another one than the target is; GateFailed where its masks were
    not the golden ones.
    """
    found = [
        each
        for artefact, subject in zip(artefacts, report.subjects, strict=True)
        for reading in subject.readings
        if reading.backend in BENCHES and (each := _found(target, artefact, subject, reading))
    ]
    if not found:
        raise InputError(
            "No board was measured that could calibrate a target.",
            hint="Add --on serial:PORT; docs/bench.md shows the firmware for it.",
        )
    for each in found:
        target = _with_speed(target, each, report.created)
    return target


def write_profile(target: Target, path: Path) -> None:
    """Write ``target`` to the file ``path``, which names it.

    Raises InputError for a file name that is no name of a target, and for a file that sordino did
    not write, or that was edited since.
    """
    if path.suffix != ".toml":
        raise InputError(f"{path.name} is no .toml file.", hint="Give a name like my-board.toml.")
    try:
        named = Target.model_validate(
            {**target.model_dump(by_alias=True), "name": path.name.removesuffix(".toml")}
        )
    except ValidationError as error:
        raise InputError(
            f"{path.name} cannot name a target: {error.errors()[0]['msg']}.",
            hint="Give a name like my-board.toml: small letters, digits and hyphens.",
        ) from error
    if path.exists() and path.read_bytes() != profile_text(read_profile(path)).encode():
        raise InputError(
            f"{path} is there already and was not written by sordino as it is.",
            hint="Name a new file.",
        )
    write_atomically(path, profile_text(named).encode())


def _found(target: Target, artefact: Artefact, subject: Subject, reading: Reading) -> _Found | None:
    """What a reading can calibrate, None where it measured no step of this artefact."""
    wanted = [f"{step}, median [" for step in (STEP, HOOKED_STEP)]
    steps = [f for f in reading.figures if f.name.startswith(tuple(wanted))]
    if not steps:
        return None
    step = steps[0]
    if step.provenance is not Provenance.MEASURED_DEVICE:
        raise InputError(
            f"What answers on {reading.place} is a simulated board, which calibrates nothing.",
            hint="Flash the bench of a real one.",
        )
    if not reading.matches:
        raise GateFailed(
            f"The board on {reading.place} does not compute the model: {reading.difference}.",
            hint="Cycles of wrong masks calibrate nothing.",
        )
    core, clock = stated(step)
    if core != target.core and core.startswith(CORTEX) and target.core.startswith(CORTEX):
        raise InputError(
            f"The board on {reading.place} has a {core}, the target {target.name} a {target.core}.",
            hint="Name a --target with the core of the board.",
        )
    if artefact.sidecar.target not in target.formats:
        raise InputError(
            f"{target.name} does not take {artefact.sidecar.target}.",
            hint="Add the format to `formats` of a profile of your own (`sordino targets new`).",
        )
    instructions, counted, doubt = _simulated(subject, simulated_core(target) or core, step)
    return _Found(artefact, reading, step, core, clock, instructions, counted, doubt)


def _simulated(
    subject: Subject, core: str, step: Figure
) -> tuple[Range | None, dict[int, float], str]:
    """Instructions of a step and of its operators on the simulated core, or why there are none."""
    for reading in subject.readings:
        named = (figure for figure in reading.figures if figure.name == f"step, median [{core}]")
        counts = next(named, None)
        if reading.backend != "simulator" or counts is None:
            continue
        there, here = (_optimisation(figure.conditions) for figure in (step, counts))
        if there != here:
            return None, {}, f"compiled with {there or 'unknown flags'} and simulated with {here}"
        counted = {row.step: row.value for row in reading.operators if row.value}
        return _span(counts), counted, ""
    return None, {}, f"not simulated on {core} in the same run"


def _optimisation(conditions: str) -> str:
    found = _OPTIMISATION.findall(conditions)
    return found[-1] if found else ""


def _with_speed(target: Target, found: _Found, created: str) -> Target:
    """``target`` with what was found, its sources in keeping."""
    format, (speed, how) = found.artefact.sidecar.target, _speed(found)
    changed = {f"speed.{format}"}
    update: dict[str, Any] = {
        "title": target.title.partition(MEASURED)[0] + MEASURED,
        "speeds": (*(s for s in target.speeds if s.format != format), speed),
    }
    if found.clock_mhz is not None:
        update["title"] += f" at {found.clock_mhz:g} MHz"
        update["clock_mhz"] = found.clock_mhz
        changed.add("clock_mhz")
    if found.core and not target.core:
        update["core"] = found.core
        changed.add("core")
    kept = [
        source.model_copy(update={"supports": tuple(left)})
        for source in target.sources
        if (left := [figure for figure in source.supports if figure not in changed])
    ]
    update["sources"] = (*kept, _source(found, changed, how, created))
    raw = target.model_copy(update=update).model_dump(by_alias=True)
    return Target.model_validate(raw)


def _source(found: _Found, supports: set[str], how: str, created: str) -> Source:
    sidecar, reading = found.artefact.sidecar, found.reading
    low, high = _span(found.step)
    note = (
        f"{sidecar.name}, SHA-256 of the C {sidecar.model.sha256}, on {reading.backend} "
        f"{reading.place}: a step of {low:,.0f} to {high:,.0f} cycles, {found.step.tool}, "
        f"{found.step.conditions}; {how}"
    )
    return Source(
        supports=tuple(sorted(supports)),
        title=f"Measured with the bench of sordino on {created.partition('T')[0]}",
        note="".join(letter for letter in note if letter.isprintable()),
    )


def _span(figure: Figure) -> Range:
    low, high = figure.low, figure.high
    return (figure.value if low is None else low, figure.value if high is None else high)


def _speed(found: _Found) -> tuple[Speed, str]:
    """The ranges, and how they were made."""
    low, high = _span(found.step)
    rows = [row for row in found.reading.operators if row.value and row.value >= LEAST_SHARE * low]
    per_mac, how = _per_mac(found.artefact.sidecar.network.macs_per_step, (low, high), rows)
    per_instruction, more = _per_instruction(found, (low, high), rows)
    speed = Speed(
        format=found.artefact.sidecar.target,
        basis="measured-device",
        cycles_per_instruction=per_instruction,
        cycles_per_mac=per_mac,
    )
    return speed, "; ".join(filter(None, (how, more)))


def _per_mac(macs: int, step: Range, rows: Sequence[OperatorRow]) -> tuple[Range | None, str]:
    if not macs:
        return None, ""
    whole = (step[0] / macs, step[1] / macs)
    each = [(row.low or row.value or 0.0, row.high or row.value or 0.0, row.macs) for row in rows]
    with_macs = [part for part in each if part[2]]
    if not with_macs:
        widened = (whole[0] / PER_MAC_FACTOR, whole[1] * PER_MAC_FACTOR)
        return _outward(widened), (
            f"cycles per MAC of the whole step, widened {PER_MAC_FACTOR:g} times either way, for "
            "networks differ that much"
        )
    # What has no MACs is shared out among those that have some.
    rest = step[1] / sum(high for _, high, _ in with_macs)
    least = min(low / count for low, _, count in with_macs)
    greatest = max(high / count for _, high, count in with_macs) * max(1.0, rest)
    ranges = (min(least, whole[0]), max(greatest, whole[1]))
    return _outward(ranges), (
        f"cycles per MAC from least to greatest of {len(with_macs)} operators, the greatest times "
        f"{max(1.0, rest):.2f} for operators without MACs"
    )


def _per_instruction(
    found: _Found, step: Range, rows: Sequence[OperatorRow]
) -> tuple[Range | None, str]:
    if found.instructions is None:
        return None, f"no cycles per instruction: {found.doubt}"
    whole = (step[0] / found.instructions[1], step[1] / found.instructions[0])
    pairs = [(row, found.counted[row.step]) for row in rows if row.step in found.counted]
    if not pairs:
        low, high = PER_INSTRUCTION_RANGE
        return _outward((whole[0] * low, whole[1] * high)), (
            "cycles per instruction of the whole step, widened by −10/+30 % as the documented model"
        )
    ratios = [(row.value or 0.0) / instructions for row, instructions in pairs]
    ranges = (min(*ratios, whole[0]), max(*ratios, whole[1]))
    return _outward(ranges), (
        f"cycles per instruction from least to greatest of {len(ratios)} operators"
    )


def _outward(span: Range) -> Range:
    """Rounded to three digits, so that the range holds what it held."""
    return _rounded(span[0], math.floor), _rounded(span[1], math.ceil)


def _rounded(value: float, towards: Any) -> float:
    digits = 2 - math.floor(math.log10(value))
    scaled: int = towards(value * 10**digits)
    return round(scaled / 10**digits, max(digits, 0))
