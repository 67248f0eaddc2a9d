"""Reports that no machine made, to try what reads them."""

from __future__ import annotations

from runtime.figures import Figure, Provenance
from runtime.profiling.records import (
    Machine,
    OperatorRow,
    ProfileReport,
    Ratio,
    Reading,
    Subject,
    Unavailable,
)

MACHINE = Machine(processor="a processor", logical_cores=2, system="Linux 6", python="3.11.2")
COMMAND = "sordino profile student-c-int8 --on host --on simulator:cortex-m4"


def figure(
    name: str,
    value: float = 1.0,
    unit: str = "",
    provenance: Provenance = Provenance.EXACT,
    *,
    tool: str = "a tool 1.2.3",
    conditions: str = "",
    low: float | None = None,
    high: float | None = None,
    spread: tuple[float, float] | None = None,
) -> Figure:
    return Figure(
        name=name,
        value=value,
        unit=unit,
        provenance=provenance,
        tool=tool,
        conditions=conditions,
        low=low,
        high=high,
        spread=spread,
    )


def operator(step: int, kind: str, output: str, macs: int, value: float | None) -> OperatorRow:
    return OperatorRow(
        step=step,
        kind=kind,
        output=output,
        shape=(1, 1, 64, 16),
        macs=macs,
        bytes_moved=1000 + macs // 10,
        value=value,
        unit="" if value is None else "instructions",
        provenance=Provenance.SIMULATED,
    )


OPERATORS = (
    operator(0, "CONV_2D", "encoder1_out", 24576, 60000.0),
    operator(2, "CONV_2D", "encoder2_out", 73728, 140000.0),
    operator(5, "LOGISTIC", "gru/reset", 0, 800.0),
    operator(6, "MUL", "gru/new", 0, 700.0),
)


def host_reading(
    median: float = 42.5, spread: tuple[float, float] | None = (41.9, 43.4)
) -> Reading:
    measured, low, high = Provenance.MEASURED_HOST, 0.9 * median, 2.1 * median
    return Reading(
        backend="host",
        place="litert",
        figures=(
            figure(
                "step, median [litert]",
                median,
                "µs",
                measured,
                low=low,
                high=high,
                spread=spread,
            ),
            figure("step of hop, median [litert]", median / 80.0, "%", measured),
            figure("step, p99 [litert]", high, "µs", measured),
            figure("peak memory [litert]", 1_234_567, "bytes", measured, conditions="VmHWM"),
        ),
    )


def simulated_reading(median: float = 843_211) -> Reading:
    simulated = Provenance.SIMULATED
    return Reading(
        backend="simulator",
        place="cortex-m4",
        figures=(
            figure(
                "step, median [cortex-m4]",
                median,
                "instructions",
                simulated,
                tool="qemu-system-arm 7.2.22",
                low=median - 11,
                high=median + 13,
            ),
            figure("flash [cortex-m4]", 151_040, "bytes", simulated),
        ),
        operators=OPERATORS,
        matches=True,
        unavailable=(Unavailable(name="cycles [cortex-m4]", reason="QEMU counts no cycles."),),
    )


def subject(
    artefact: str = "student-c-int8",
    *readings: Reading,
    sha256: str = "ab" * 32,
    constants: int = 138_000,
) -> Subject:
    return Subject(
        artefact=artefact,
        format="c-int8",
        sha256=sha256,
        figures=(
            figure("constants", constants, "bytes", tool="generator"),
            figure("work per step", 516_096, "MAC", tool="sidecar"),
        ),
        readings=readings,
        operators={"CONV_2D": 15, "MUL": 4},
    )


def report(*subjects: Subject, machine: Machine = MACHINE) -> ProfileReport:
    return ProfileReport(
        created="2026-01-31T12:00:00Z",
        command=COMMAND,
        tools={"sordino": "0.5.0", "litert": "2.1.2"},
        machine=machine,
        subjects=subjects or (subject("student-c-int8", host_reading(), simulated_reading()),),
        ratios=(
            Ratio(
                slower="a [litert]",
                faster="b [native]",
                ratio=1.734,
                low=1.701,
                high=1.802,
                provenance=Provenance.MEASURED_HOST,
            ),
        ),
        unavailable=(Unavailable(name="adb", reason="adb is not installed."),),
    )
