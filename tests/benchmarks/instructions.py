"""Instructions, memory and stack of generated C on simulated cores.

    python -m tests.benchmarks.instructions [--presets tiny small] [--formats int8 int16x8 fp32]
        [--cores cortex-m4 …] [--model FILE.tflite …] [--frames 100] [--compiler gcc]
        [--optimisation=-O3] [--operators cortex-m4 …] [--json FILE]

Run from the project's root. Networks of the presets are untrained, which changes no count by much.
Prints Markdown: one row per model, format and core; what an earlier study counted for another
network; and, for the cores named by --operators, the kinds of operators, with a mark where one
needs more than 6 instructions per MAC.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from distill.unet import preset
from runtime.devices.bare_metal import simulate
from runtime.devices.compiling import CompilerName, Optimisation
from runtime.devices.cores import CORES
from runtime.devices.simulation import OperatorCount, SimulationReport
from targets.errors import SordinoError
from tests.runtime.devices.generated import FORMATS, Generated, generated, untrained

COLUMNS = (
    *("model", "core", "instructions", "most", "per MAC"),
    *("code", "constants", "RAM", "stack", "bits"),
)
WITHOUT_FLOATS = ("cortex-m0", "cortex-m3", "rv32imac")  # 90 to 190 instructions per MAC: no use
TOO_MANY = 6.0  # instructions per MAC
# Not measured here: an earlier study in QEMU of another network (int8, 97,000 MACs, convolutions
# and a GRU), TFLM with CMSIS-NN kernels at -O2 and a prototype of generated C at -O3.
KNOWN_MACS = 97_000
KNOWN = {
    "cortex-m0": (None, 969_000),
    "cortex-m3": (None, 384_000),
    "cortex-m4": (516_000, 307_000),
    "cortex-m7": (None, 306_000),
    "cortex-m33": (516_000, 302_000),
    "cortex-m55": (276_000, 178_000),
    "rv32imac": (None, 531_000),
}


def main() -> None:
    options = _options()
    reports: dict[str, list[SimulationReport]] = {}
    work: dict[str, Generated] = {}
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for name, content in _models(options):
        try:
            work[name] = generated(content, options.frames)
        except SordinoError as error:
            print(f"| {name} | – | {error.message} |")
            continue
        reports[name] = []
        for core in options.cores:
            if name.endswith("fp32") and core in WITHOUT_FLOATS:
                continue
            labels = work[name].labels if core in options.operators else ()
            report = simulate(
                work[name].sources,
                work[name].vectors,
                core,
                operators=labels,
                compiler=options.compiler,
                optimisation=options.optimisation,
            )
            reports[name].append(report)
            print(_row(name, report, work[name].macs), flush=True)
    _print_known(reports, work)
    for name, found in reports.items():
        for report in found:
            if report.operators:
                _print_operators(name, report)
    if options.json:
        text = {name: [r.model_dump(mode="json") for r in found] for name, found in reports.items()}
        options.json.write_text(json.dumps(text, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="*", default=["tiny", "small"])
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--cores", nargs="*", default=list(CORES), choices=list(CORES))
    parser.add_argument("--model", nargs="*", type=Path, default=[])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--compiler", default="gcc", choices=get_args(CompilerName))
    parser.add_argument("--optimisation", default="-O3", choices=get_args(Optimisation))
    parser.add_argument("--operators", nargs="*", default=["cortex-m4", "cortex-m55"])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _models(options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    for path in options.model:
        yield path.name, path.read_bytes()
    for name in options.presets:
        for format in options.formats:
            yield f"{name} {format}", untrained(preset(name), format)


def _row(name: str, report: SimulationReport, macs: int) -> str:
    sizes, difference = report.sizes, report.difference
    bits = "exact"
    if difference is not None:
        bits = f"frame {difference.frame} differs by {difference.largest:g}"
    if not report.repeatable:
        bits += ", not repeatable"
    cells = [
        name,
        report.core,
        f"{report.step.median:,}",
        f"{report.step.maximum:,}",
        f"{report.step.median / macs:.2f}",
        f"{sizes.text + sizes.library_code:,}",
        f"{sizes.rodata:,}",
        f"{sizes.ram:,}",
        f"{report.stack:,}",
        bits,
    ]
    return f"| {' | '.join(cells)} |"


def _print_known(reports: dict[str, list[SimulationReport]], work: dict[str, Generated]) -> None:
    print("\nInstructions per MAC beside an earlier study of another network:\n")
    names = list(reports)
    print("| core | TFLM + CMSIS-NN, study | prototype, study | " + " | ".join(names) + " |")
    print("| --- | --- | --- |" + " --- |" * len(names))
    for core, known in KNOWN.items():
        cells = ["–" if count is None else f"{count / KNOWN_MACS:.1f}" for count in known]
        for name in names:
            found = [report for report in reports[name] if report.core == core]
            cells += [f"{found[0].step.median / work[name].macs:.2f}" if found else "–"]
        print(f"| {core} | " + " | ".join(cells) + " |")


def _print_operators(name: str, report: SimulationReport) -> None:
    print(f"\n{name} on {report.core}, by kind of operator:\n")
    print("| operator | count | MACs | instructions | share | per MAC | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    kinds: dict[str, list[OperatorCount]] = {}
    for operator in report.operators:
        kinds.setdefault(operator.kind, []).append(operator)
    sums = {
        kind: sum(operator.instructions.median for operator in found)
        for kind, found in kinds.items()
    }
    total = sum(sums.values())
    for kind in sorted(kinds, key=lambda kind: -sums[kind]):
        macs = sum(operator.macs for operator in kinds[kind])
        share = f"{100 * sums[kind] / total:.1f} %"
        print(_operator_row(kind, len(kinds[kind]), macs, sums[kind], share))
    print(f"| sum (a step without hooks: {report.step.median:,}) | | | {total:,} | | | |")
    slow = [op for op in report.operators if op.per_mac is not None and op.per_mac > TOO_MANY]
    for operator in slow:
        print(
            _operator_row(
                f"{operator.kind} {operator.output}",
                1,
                operator.macs,
                operator.instructions.median,
                "",
            )
        )


def _operator_row(title: str, count: int, macs: int, instructions: int, share: str) -> str:
    per_mac = instructions / macs if macs else None
    rate = "" if per_mac is None else f"{per_mac:.2f}"
    mark = "more than 6" if per_mac is not None and per_mac > TOO_MANY else ""
    return f"| {title} | {count} | {macs:,} | {instructions:,} | {share} | {rate} | {mark} |"


if __name__ == "__main__":
    main()
