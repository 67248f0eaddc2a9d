"""Does an artefact fit a target? One line per budget: it fits, it does not, or it is unknown."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict

from targets.catalog import BUILTIN, Origin, load_target, origin_of
from targets.needs import Needs
from targets.schema import Target

Verdict = Literal["fits", "does not fit", "unknown"]
Basis = Literal["exact", "measured-host", "modelled", "measured-device", "none"]

CPU_SHARE = 0.8  # of a hop; the rest is for the front end and the firmware around it
ARENA_MARGIN_BYTES = 2048
ARENA_MARGIN_SHARE = 0.05

# Cycles per multiply-accumulate on M4 and M33, by format: instructions of a whole step, exact in
# simulation, times 1.14 cycles per instruction from documented timings at zero wait states.
# Interpreter (with CMSIS-NN): 516 k instructions for 97 k MACs. Generated C: 2.28 (int8) and 2.63
# (int16x8) per MAC for the preset tiny; the larger small needs 1.78 and 1.96. Not yet calibrated on
# a board, hence the wide range, and hence no figure at all for cores that were not modelled.
CYCLES_PER_MAC = {"tflite-int8": 6.1, "c-int8": 2.6, "c-int16x8": 3.0}
MODELLED_RANGE = (0.9, 1.3)
MODELLED_CORES = ("cortex-m4", "cortex-m33")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FitLine(_Record):
    """One budget. ``needs`` and ``offers`` share ``unit``; ``excess`` is how much is missing."""

    budget: str
    verdict: Verdict
    needs: float | None = None
    offers: float | None = None
    unit: str = ""
    basis: Basis = "none"
    note: str = ""

    @property
    def excess(self) -> float:
        """By how much the need exceeds the offer, 0 when it does not or either is unknown."""
        if self.needs is None or self.offers is None:
            return 0.0
        return max(0.0, self.needs - self.offers)


class FitReport(_Record):
    """All budget lines of one artefact on one target."""

    target: str
    origin: Origin
    lines: tuple[FitLine, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst line: one that does not fit beats one that is unknown."""
        verdicts = {line.verdict for line in self.lines}
        if "does not fit" in verdicts:
            return "does not fit"
        return "unknown" if "unknown" in verdicts or not verdicts else "fits"


def arena_with_margin(arena_bytes: int) -> int:
    """Bytes to reserve for an arena measured at ``arena_bytes``, a multiple of 16.

    The margin is max(2 KiB, 5 %): interpreters of different word size and kernels with scratch
    memory were seen to differ by less.
    """
    margin = max(ARENA_MARGIN_BYTES, -(-arena_bytes * ARENA_MARGIN_SHARE // 1))
    return -(-(arena_bytes + int(margin)) // 16) * 16


def fit_verdict(target: Target, needs: Needs) -> FitReport:
    """Compare what an artefact needs with every budget of ``target``."""
    lines = [_format_line(target, needs.format), _operator_line(needs.format, needs.operators)]
    if target.kind == "device":
        delay_ms = 1e3 * needs.algorithmic_delay / needs.sample_rate
        lines += [
            _flash_line(target, needs.constant_bytes, needs.parameters),
            _ram_line(target, needs.arena_bytes, needs.static_ram_bytes),
            _latency_line(target, delay_ms),
            _real_time_line(target, needs.format, needs.macs_per_step, needs.hop_us, needs.p99_us),
        ]
    return FitReport(target=target.name, origin=origin_of(target), lines=tuple(lines))


def weight_offer(target: Target) -> int | None:
    """Bytes for constants: the product's budget where it states one, else the memory."""
    return target.budget.weight_bytes or target.weight_bytes


def ram_offer(target: Target) -> int | None:
    """Bytes for data: the product's budget where it states one, else the memory."""
    return target.budget.ram_bytes or target.ram_bytes


def _format_line(target: Target, artefact_format: str) -> FitLine:
    takes = ", ".join(target.formats)
    fits = artefact_format in target.formats
    return FitLine(
        budget="format",
        verdict="fits" if fits else "does not fit",
        basis="exact",
        note=artefact_format if fits else f"the artefact is {artefact_format}; it takes {takes}",
    )


def _operator_line(artefact_format: str, operators: Collection[str]) -> FitLine:
    if artefact_format not in BUILTIN or not operators:
        missing = "no operator list" if not operators else f"no operator set for {artefact_format}"
        return FitLine(budget="operators", verdict="unknown", note=missing)
    used = set(operators)
    unknown = sorted(used - set(load_target(artefact_format).operators))
    return FitLine(
        budget="operators",
        verdict="does not fit" if unknown else "fits",
        basis="exact",
        note=f"its runtime lacks {', '.join(unknown)}" if unknown else f"{len(used)} kinds",
    )


def _flash_line(target: Target, model_bytes: int, parameters: int) -> FitLine:
    note = f"the model alone ({parameters:,} parameters), without the code of the runtime"
    return _bytes_line("flash", model_bytes, weight_offer(target), "exact", note)


def _ram_line(target: Target, arena_bytes: int | None, static_bytes: int | None) -> FitLine:
    if static_bytes is not None:
        note = "states and arena of the generated C, without stack"
        return _bytes_line("RAM", static_bytes, ram_offer(target), "exact", note)
    if arena_bytes is None:
        return FitLine(
            budget="RAM",
            verdict="unknown",
            offers=ram_offer(target),
            unit="bytes",
            note="the arena was not measured: tflite_micro is missing or does not run this format",
        )
    note = "arena with margin, measured on a 64-bit host, without kernel scratch and stack"
    needs = arena_with_margin(arena_bytes)
    return _bytes_line("RAM", needs, ram_offer(target), "measured-host", note)


def _bytes_line(budget: str, needs: int, offers: int | None, basis: Basis, note: str) -> FitLine:
    if offers is None:
        verdict: Verdict = "unknown"
        note = "the profile states no figure"
    else:
        verdict = "fits" if needs <= offers else "does not fit"
    return FitLine(
        budget=budget,
        verdict=verdict,
        needs=needs,
        offers=offers,
        unit="bytes",
        basis=basis,
        note=note,
    )


def _latency_line(target: Target, delay_ms: float) -> FitLine:
    limit = target.budget.algorithmic_latency_ms
    if limit is None:
        verdict: Verdict = "unknown"
    else:
        verdict = "fits" if delay_ms <= limit else "does not fit"
    return FitLine(
        budget="algorithmic latency",
        verdict=verdict,
        needs=delay_ms,
        offers=limit,
        unit="ms",
        basis="exact",
        note="the profile states no limit" if limit is None else "window and look-ahead",
    )


def _real_time_line(
    target: Target, artefact_format: str, macs: int, hop_us: float, measured_us: float | None
) -> FitLine:
    offers = CPU_SHARE * hop_us
    if measured_us is not None:
        return FitLine(
            budget="real time",
            verdict="fits" if measured_us <= offers else "does not fit",
            needs=measured_us,
            offers=offers,
            unit="µs",
            basis="measured-device",
            note=f"99th percentile of a step against {CPU_SHARE:.0%} of a hop",
        )
    modelled = modelled_step_us(target, artefact_format, macs)
    if isinstance(modelled, str):
        return FitLine(
            budget="real time", verdict="unknown", offers=offers, unit="µs", note=modelled
        )
    low, high = modelled
    verdict: Verdict = "fits" if high <= offers else "does not fit" if low > offers else "unknown"
    return FitLine(
        budget="real time",
        verdict=verdict,
        needs=low if verdict == "does not fit" else high,  # the bound that decides
        offers=offers,
        unit="µs",
        basis="modelled",
        note=(
            f"modelled {low:.0f} to {high:.0f} µs: {macs:,} MACs × "
            f"{CYCLES_PER_MAC[artefact_format]} cycles ({_runner(artefact_format)}, "
            f"zero wait states), −10/+30 %; limit {CPU_SHARE:.0%} of a hop"
        ),
    )


def _runner(artefact_format: str) -> str:
    return "generated C" if artefact_format.startswith("c-") else "TFLM with CMSIS-NN"


def modelled_step_us(
    target: Target, artefact_format: str, macs_per_step: int
) -> tuple[float, float] | str:
    """Least and greatest time of one step in µs, or the reason why it cannot be modelled."""
    clock = target.clock_mhz
    if target.core not in MODELLED_CORES:
        core = target.core or "a core the profile does not name"
        return f"no calibrated cycle model for {core}: measure on the device"
    if artefact_format not in CYCLES_PER_MAC:
        return f"the cycle model covers {', '.join(CYCLES_PER_MAC)} only"
    if clock is None:
        return "the profile states no clock"
    per_mac = CYCLES_PER_MAC[artefact_format]
    low, high = (factor * per_mac * macs_per_step / clock for factor in MODELLED_RANGE)
    return low, high


def most_macs(target: Target, hop_us: float) -> int | None:
    """The most MACs a step may have to fit ``target`` in its first modelled format, at every
    modelled speed; None if unknown."""
    format = next((name for name in target.formats if name in CYCLES_PER_MAC), "")
    modelled = modelled_step_us(target, format, 1)
    return None if isinstance(modelled, str) else int(CPU_SHARE * hop_us / modelled[1])
