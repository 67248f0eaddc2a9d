"""Does an artefact fit a target? One line per budget: it fits, it does not, or it is unknown.

A limit that nobody stated is neither: its line shows the need, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from targets.catalog import BUILTIN, load_target, origin_of
from targets.needs import Needs
from targets.placement import (
    WITH_PROCESSES,
    Placed,
    arena_with_margin,
    flash_pieces,
    place,
    ram_pieces,
    weights_region,
)
from targets.schema import Target
from targets.speed import StepTime, step_time
from targets.verdict import (
    FitLine,
    FitReport,
    LineVerdict,
    Remedy,
    Verdict,
    least_certain,
)

__all__ = [
    "CPU_SHARE",
    "FitLine",
    "FitReport",
    "Remedy",
    "Verdict",
    "arena_with_margin",
    "average_power_mw",
    "fit_verdict",
    "ram_offer",
    "time_of",
    "weight_offer",
]

ARENA_MISSING = "the arena (profile it where tflite_micro is installed, or export it as C)"
CPU_SHARE = 0.8  # of a hop; the rest is for the front end and the firmware around it


def fit_verdict(target: Target, needs: Needs) -> FitReport:
    """Compare what an artefact needs with every budget of ``target``."""
    lines = [_format_line(target, needs), _operator_line(needs)]
    if target.kind == "device":
        time = time_of(target, needs)
        lines += [
            *_memory_lines(target, needs),
            _real_time_line(target, needs, time),
            _algorithmic_line(target, needs),
            _total_latency_line(target, needs, time),
            *_power_lines(target, needs, time),
        ]
    return FitReport(target=target.name, origin=origin_of(target), lines=tuple(lines))


def time_of(target: Target, needs: Needs) -> StepTime:
    """Least and greatest time of one step, its weights read from where they have room."""
    return step_time(target, needs, weights_region(target, needs))


def weight_offer(target: Target) -> int | None:
    """Bytes for constants and code: the product's budget where stated, else the memory."""
    return target.budget.weight_bytes or target.weight_bytes


def ram_offer(target: Target) -> int | None:
    """Bytes for data: the product's budget where stated, else the memory."""
    return target.budget.ram_bytes or target.ram_bytes


def _format_line(target: Target, needs: Needs) -> FitLine:
    takes = ", ".join(target.formats)
    fits = needs.format in target.formats
    return FitLine(
        budget="format",
        verdict="fits" if fits else "does not fit",
        basis="exact",
        note=needs.format if fits else f"the artefact is {needs.format}; it takes {takes}",
    )


def _operator_line(needs: Needs) -> FitLine:
    if needs.format not in BUILTIN or not needs.operators:
        lacking = (
            f"the operator set of {needs.format}" if needs.operators else "the list of operators"
        )
        return FitLine(
            budget="operators", verdict="unknown", note=f"unknown: {lacking}", missing=(lacking,)
        )
    used = set(needs.operators)
    unknown = sorted(used - set(load_target(needs.format).operators))
    return FitLine(
        budget="operators",
        verdict="does not fit" if unknown else "fits",
        basis="exact",
        note=f"its runtime lacks {', '.join(unknown)}" if unknown else f"{len(used)} kinds",
    )


# Memory


def _memory_lines(target: Target, needs: Needs) -> list[FitLine]:
    flash, ram = flash_pieces(needs), ram_pieces(needs)
    placed = place(target, [*flash, *ram])
    split = len(flash)
    stated = target.budget
    return [
        _bytes_line(
            "flash",
            placed[:split],
            stated.weight_bytes,
            target.weight_bytes,
            unknown=() if needs.constant_bytes is not None else ("the size of the constants",),
            uncounted=_uncounted_flash(target, needs),
        ),
        _bytes_line(
            "RAM",
            placed[split:],
            stated.ram_bytes,
            target.ram_bytes,
            unknown=() if needs.working_bytes is not None else (ARENA_MISSING,),
            uncounted=_uncounted_ram(target, needs),
        ),
    ]


def _uncounted_flash(target: Target, needs: Needs) -> tuple[str, ...]:
    audio = _audio(needs.audio_constant_bytes)
    if needs.code_bytes is not None:
        return audio
    if not needs.format.startswith("c-"):
        return ("code of the runtime that interprets it",)
    return (f"code{_to_simulate(target)}", *audio)


def _audio(size: int) -> tuple[str, ...]:
    """Firmware may use the generated audio path, or have its own."""
    return (f"the audio path ({size:,} bytes where the generated one is used)",) if size else ()


def _to_simulate(target: Target) -> str:
    """How to get what a simulation tells, where the core may have one."""
    simulated = target.core.startswith(("cortex-m", "rv32"))
    return " (simulate it: --on simulator)" if simulated else ""


def _uncounted_ram(target: Target, needs: Needs) -> tuple[str, ...]:
    with_processes = target.device_class in WITH_PROCESSES
    uncounted = []
    if needs.arena_bytes is not None and needs.working_bytes == needs.arena_bytes:
        uncounted.append("scratch memory of kernels")
    if needs.stack_bytes is None and not with_processes:
        generated = needs.static_ram_bytes is not None
        uncounted.append(f"stack{_to_simulate(target) if generated else ''}")
    return (*uncounted, *_audio(needs.audio_ram_bytes))


def _bytes_line(
    name: str,
    placed: Sequence[Placed],
    budget: int | None,
    memory: int | None,
    *,
    unknown: tuple[str, ...],
    uncounted: tuple[str, ...],
) -> FitLine:
    """Pieces against the product's budget and against the regions that may hold them.

    Of what is ``unknown`` the line is a lower bound that may refuse but not accept; what is
    ``uncounted`` only has to be told.
    """
    needs = sum(one.piece.bytes for one in placed)
    unplaced = dict.fromkeys(one.missing for one in placed if one.missing)
    regions = {one.region.name: one.region.bytes or 0 for one in placed if one.region is not None}
    offers = budget or (None if unplaced else sum(regions.values())) or memory
    full = next((one for one in placed if one.full and one.region is not None), None)
    verdict: LineVerdict = "fits"
    if budget is not None and needs > budget:
        verdict = "does not fit"
    elif full is not None and full.region is not None:
        verdict = "does not fit"
        needs, offers = full.before + full.piece.bytes, full.region.bytes
    elif budget is None and unplaced:
        verdict = "unknown"
        unknown = (*unknown, *unplaced)
    elif unknown:
        verdict = "unknown"
    notes = (_inventory(placed), _listed("unknown", unknown), _listed("not counted", uncounted))
    return FitLine(
        budget=name,
        verdict=verdict,
        needs=needs or None,
        offers=offers,
        unit="bytes",
        basis=least_certain(*(one.piece.basis for one in placed)),
        note="; ".join(filter(None, notes)),
        missing=(*unknown, *uncounted),
    )


def _inventory(placed: Sequence[Placed]) -> str:
    parts = []
    for one in placed:
        where = ""
        if one.region is not None:
            where = f" do not fit into {one.region.name}" if one.full else f" in {one.region.name}"
        parts.append(f"{one.piece.bytes:,} {one.piece.name}{where}")
    return ", ".join(parts)


def _listed(label: str, missing: Sequence[str]) -> str:
    return f"{label}: {', '.join(missing)}" if missing else ""


# Time


def _real_time_line(target: Target, needs: Needs, time: StepTime) -> FitLine:
    share = target.budget.cpu_share or CPU_SHARE
    limit = share * needs.hop_us
    line = _range_line("real time", "µs", limit, time.low_us, time.high_us)
    missing = (time.missing,) if time.missing else ()
    if line.verdict == "unknown" and not missing:
        missing = ("a measurement on the device: the limit lies within the range",)
    span = (
        ""
        if time.high_us in (None, time.low_us)
        else f"{time.low_us:,.0f} to {time.high_us:,.0f} µs: "
    )
    limited = f"limit {share:.0%} of a hop of {needs.hop_us / 1e3:g} ms"
    beside = _audio_work(needs)
    return line.model_copy(
        update={
            "basis": time.basis,
            "note": "; ".join(
                filter(None, (span + time.how, limited, _listed("unknown", missing), beside))
            ),
            "missing": missing,
        }
    )


def _audio_work(needs: Needs) -> str:
    """The work of the generated audio path, for which the rest of the hop is there."""
    more = needs.audio_instructions
    if not more or not needs.instructions:
        return ""
    return (
        f"not counted: the audio path ({more:,} instructions, {more / needs.instructions:.0%} of "
        "the step's, where the generated one is used)"
    )


def _algorithmic_line(target: Target, needs: Needs) -> FitLine:
    delay_ms = 1e3 * needs.algorithmic_delay / needs.sample_rate
    limit = target.budget.algorithmic_latency_ms
    line = _range_line("algorithmic latency", "ms", limit, delay_ms, delay_ms)
    return line.model_copy(update={"basis": "exact", "note": "window and look-ahead"})


def _total_latency_line(target: Target, needs: Needs, time: StepTime) -> FitLine:
    """Window overlap + hop + compute + I/O; a hop of buffering is part of the first two."""
    hop_ms = needs.hop_us / 1e3
    window_ms = 1e3 * needs.algorithmic_delay / needs.sample_rate - hop_ms
    io_ms = target.budget.io_ms
    missing = ["compute (see real time)"] if time.high_us is None else []
    if io_ms is None:
        missing.append("I/O (budget.io_ms of the profile)")
    low = window_ms + hop_ms + time.low_us / 1e3 + (io_ms or 0.0)
    high = None if missing or time.high_us is None else low + (time.high_us - time.low_us) / 1e3
    compute = _interval(time.low_us / 1e3, None if time.high_us is None else time.high_us / 1e3)
    note = (
        f"window {window_ms:.3g} + hop {hop_ms:.3g} + compute {compute} + "
        f"I/O {'unknown' if io_ms is None else f'{io_ms:.3g}'} ms"
    )
    limit = target.budget.total_latency_ms
    line = _range_line("total latency", "ms", limit, low, high)
    if line.verdict == "unknown" and not missing:
        missing = ["a measurement on the device: the limit lies within the range"]
    return line.model_copy(
        update={
            "basis": "exact" if time.basis == "none" else time.basis,
            "note": "; ".join(filter(None, (note, _listed("unknown", missing)))),
            "missing": tuple(missing),
        }
    )


def _power_lines(target: Target, needs: Needs, time: StepTime) -> list[FitLine]:
    """Average power of the computing core, where it is limited or known."""
    limit = target.budget.power_mw
    power = average_power_mw(target, needs, time)
    if limit is None and power is None:
        return []
    if power is None:
        missing = "supply current of the core" if target.energy is None else time.missing
        return [
            FitLine(
                budget="power",
                verdict="unknown",
                offers=limit,
                unit="mW",
                note=f"unknown: {missing}",
                missing=(missing,),
            )
        ]
    line = _range_line("power", "mW", limit, *power)
    missing = "sleep between steps, front end, converters"
    note = f"active current × voltage × time of a step ÷ hop; not counted: {missing}"
    update = {"basis": "modelled", "note": note, "missing": (missing,)}
    return [line.model_copy(update=update)]


def average_power_mw(target: Target, needs: Needs, time: StepTime) -> tuple[float, float] | None:
    """Least and greatest average power of the core over a hop, in mW: active current × voltage ×
    the part of the hop in which it computes. None where any of them is unknown."""
    energy, clock = target.energy, target.clock_mhz
    if energy is None or clock is None or time.high_us is None:
        return None
    active_mw = energy.active_ua_per_mhz * clock * energy.volts / 1e3
    return active_mw * time.low_us / needs.hop_us, active_mw * time.high_us / needs.hop_us


def _range_line(
    name: str, unit: str, limit: float | None, low: float, high: float | None
) -> FitLine:
    """A need between ``low`` and ``high`` (None: nobody knows) against a limit."""
    verdict: LineVerdict = "unknown"
    if limit is None:
        verdict = "no limit"
    elif low > limit:
        verdict = "does not fit"
    elif high is not None and high <= limit:
        verdict = "fits"
    decides = low if high is None or verdict == "does not fit" else high
    return FitLine(
        budget=name,
        verdict=verdict,
        needs=decides if decides > 0 else None,
        offers=limit,
        unit=unit,
        low=low if decides > 0 and low != high else None,
        high=high if low != high else None,
    )


def _interval(low: float, high: float | None) -> str:
    if high is None:
        return f"at least {low:.3g}" if low > 0 else "unknown"
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
