"""Step latency of one network in every engine of this host, all timed in turns in one run.

    python -m tests.benchmarks.engines --artefacts DIR [--seconds 10] [--cpu N] [--more]

Run from the project's root. DIR holds exported artefacts (.tflite, .onnx, folders of C); those in
int8 and in float32 are taken, in the fast engine of their format, with --more also in LiteRT's
reference kernels and in TFLM. Prints Markdown: per precision one table of the network alone, with
ratios to the fastest and their 95 % intervals (bootstrap over rounds), and one of whole hops, with
the share of them that is not the network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from runtime.artefact import Artefact, load_artefact
from runtime.benchmark import Contestant, Turns, chosen_cpu, time_in_turns
from runtime.contestants import HOP, HOP_IN_C, STEP
from runtime.devices.host_figures import conditions_of
from runtime.doctor import engine_version, tool_of
from runtime.engines import engine_names
from runtime.timing import Durations, distribution, ratio_of_medians
from targets.errors import SordinoError

PRECISIONS = {
    "int8": ("tflite-int8", "onnx-int8", "c-int8"),
    "float32": ("tflite-fp32", "onnx-fp32", "c-fp32"),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--artefacts", type=Path, required=True)
    options.add_argument("--seconds", type=float, default=10.0, help="for each row")
    options.add_argument("--cpu", type=int, help="to pin to; the last by default")
    options.add_argument("--more", action="store_true", help="reference kernels and TFLM as well")
    chosen = options.parse_args()
    cpu = chosen_cpu(chosen.cpu)
    contestants = list(_contestants(chosen.artefacts, chosen.more))
    turns = time_in_turns(contestants, chosen.seconds, cpu)
    for precision, targets in PRECISIONS.items():
        rows = [
            (contestant, parts)
            for contestant, parts in zip(contestants, turns.durations, strict=True)
            if contestant.artefact.sidecar.target in targets and parts
        ]
        if rows:
            print(f"\n{precision}, network alone\n")
            _print_steps(rows)
            print(f"\n{precision}, whole hops\n")
            _print_hops(rows)
    print(f"\n{conditions_of(turns, cpu)}.")
    print(f"Engines: {', '.join(sorted({tool_of(each.engine) for each in contestants}))}.")
    _tell_failures(contestants, turns)


def _contestants(folder: Path, more: bool) -> Iterator[Contestant]:
    """Artefacts in the engines to compare, those that are installed."""
    for artefact in _artefacts(folder):
        names = engine_names(artefact)
        for engine in names if more else names[:1]:
            if engine_version(engine):
                yield Contestant(artefact, engine)
            else:
                print(f"{engine} is not installed here.", file=sys.stderr)


def _artefacts(folder: Path) -> Iterator[Artefact]:
    wanted = {target for targets in PRECISIONS.values() for target in targets}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".tflite", ".onnx") or (path / "model.c").is_file():
            artefact = load_artefact(path)
            if artefact.sidecar.target in wanted:
                yield artefact


def _print_steps(rows: list[tuple[Contestant, dict[str, Durations]]]) -> None:
    ranked = sorted(rows, key=lambda row: distribution(row[1][STEP]).median)
    print("| engine | model | median µs | p95 | p99 | steps | to the fastest | 95 % |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    fastest = ranked[0][1][STEP]
    for contestant, parts in ranked:
        found = distribution(parts[STEP])
        ratio, low, high = ratio_of_medians(parts[STEP], fastest)
        print(
            f"| {contestant.engine} | {contestant.artefact.sidecar.target} | {found.median:.1f} | "
            f"{found.p95:.1f} | {found.p99:.1f} | {found.count:,} | {ratio:.2f} | "
            f"{low:.2f} to {high:.2f} |"
        )


def _print_hops(rows: list[tuple[Contestant, dict[str, Durations]]]) -> None:
    print("| engine | path around it | whole hop, median µs | p99 | not the network | 95 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for contestant, parts in rows:
        for part, path in ((HOP, "Python"), (HOP_IN_C, "generated C")):
            if part in parts:
                found = distribution(parts[part])
                ratio, low, high = ratio_of_medians(parts[STEP], parts[part])
                print(
                    f"| {contestant.engine} | {path} | {found.median:.1f} | {found.p99:.1f} | "
                    f"{1.0 - ratio:.1%} | {1.0 - high:.1%} to {1.0 - low:.1%} |"
                )


def _tell_failures(contestants: list[Contestant], turns: Turns) -> None:
    for number, error in turns.failures.items():
        told: SordinoError = error
        print(f"{contestants[number].engine}: {told.message}", file=sys.stderr)


if __name__ == "__main__":
    main()
