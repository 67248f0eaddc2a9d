"""Network × target: what a step asks for, what that is known from, and whether it fits.

    python -m tests.benchmarks.target_table [--networks tiny@phone small@hearing-aid …]
        [--targets cortex-m4 …] [--artefacts runs/small/artefacts/student-c-int8 …]
        [--frames 100] [--json FILE]

Run from the project's root; some minutes. A network is PRESET@CONTRACT, built as int8 C without
being trained, which changes no count by much; ``--artefacts`` adds C artefacts that were. Each is
simulated once on every core that a target has. Prints Markdown, a letter behind each figure for its
class: verdicts and times by target, reasons, then sizes and counts by core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.unet import preset
from runtime.artefact import Artefact, load_artefact
from runtime.devices.cores import CORES
from runtime.devices.simulator import core_of, measure
from runtime.figures import Figure
from runtime.profiling.backends import Request
from runtime.profiling.exact import exact_figures
from runtime.profiling.modelled import modelled
from runtime.profiling.needs_of import judge
from runtime.profiling.records import Reading
from runtime.stft import resolve_contract
from targets.catalog import list_targets, load_target
from targets.schema import Target
from targets.verdict import FitLine, FitReport
from tests.runtime.devices.generated import untrained_artefact

LETTERS = {
    "exact": "E",
    "simulated": "S",
    "modelled": "M",
    "measured-device": "D",
    "measured-host": "H",
}
NETWORKS = (
    *("tiny@hearing-aid", "tiny@mcu", "tiny@phone"),
    *("small@hearing-aid", "small@mcu", "small@phone", "teacher@phone"),
)
COLUMNS = (
    *("network", "core", "instructions", "per MAC", "stack", "flash", "RAM"),
    *("hop of audio", "its stack", "flash with audio", "RAM with audio"),
)
FIGURES = (
    *("step, maximum", "instructions per MAC", "stack of a step", "flash", "RAM without stack"),
    *("hop of audio, maximum", "stack of a hop of audio", "flash with audio"),
    "RAM with audio, without stack",
)
MS = 1e3  # of µs


@dataclass(frozen=True)
class Row:
    """One network on one target."""

    target: Target
    network: str
    fit: FitReport

    def line(self, budget: str) -> FitLine | None:
        return next((line for line in self.fit.lines if line.budget == budget), None)


@dataclass
class Notes:
    """Reasons, each told once and then by its number."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, reason: str) -> int:
        return self.numbers.setdefault(reason, len(self.numbers) + 1)


def main() -> None:
    options = _options()
    targets = [load_target(name) for name in options.targets] if options.targets else _devices()
    rows: list[Row] = []
    readings: dict[str, list[Reading]] = {}
    with tempfile.TemporaryDirectory() as folder:
        networks = dict(_networks(options, Path(folder)))
        for name, artefact in networks.items():
            readings[name] = _simulated(name, artefact, targets, options.frames)
            rows += (_row(name, artefact, target, readings[name]) for target in targets)
    _print_verdicts(rows, targets, list(networks))
    _print_cores(readings)
    if options.json:
        options.json.write_text(json.dumps(_record(rows, readings), indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--artefacts", nargs="*", type=Path, default=[])
    parser.add_argument("--targets", nargs="*")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _devices() -> list[Target]:
    return [target for target in list_targets() if target.kind == "device"]


def _networks(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Artefact]]:
    for name in options.networks:
        size, _, wanted = name.partition("@")
        contract = resolve_contract(wanted or "phone")
        config = preset(size).model_copy(update={"bins": contract.bins})
        artefact = untrained_artefact(folder / name, config, contract=contract, name=size)
        yield f"{size}, {wanted or 'phone'}", artefact
    for path in options.artefacts:
        artefact = load_artefact(path)
        yield f"{artefact.sidecar.network.preset}, trained", artefact


def _simulated(
    name: str, artefact: Artefact, targets: Sequence[Target], frames: int
) -> list[Reading]:
    """One reading for every core that a target has. Ends when one is not as it has to be."""
    cores = [
        name for name in CORES if any(core_of(target.core) is CORES[name] for target in targets)
    ]
    if not cores:
        return []
    ((*readings,),) = measure([artefact], Request(address=",".join(cores), frames=frames)).readings
    for reading in readings:
        if not reading.matches:
            raise SystemExit(f"{name} on {reading.place}: {reading.difference}")
    return readings


def _row(name: str, artefact: Artefact, target: Target, readings: Iterable[Reading]) -> Row:
    sidecar, core = artefact.sidecar, core_of(target.core)
    found = [reading.figures for reading in readings if core and reading.place == core.name]
    figures = [*exact_figures(sidecar), *(figure for part in found for figure in part)]
    figures += modelled(sidecar, figures, target).figures
    return Row(target, name, judge(sidecar, figures, target))


def _print_verdicts(
    rows: Iterable[Row], targets: Iterable[Target], networks: Sequence[str]
) -> None:
    """A line for each target, a column for each network; then the reasons."""
    notes = Notes()
    cells = {(row.target.name, row.network): _cell(row, notes) for row in rows}
    print(f"| target | core | {' | '.join(networks)} |\n|{' --- |' * (len(networks) + 2)}")
    for target in targets:
        found = [cells[target.name, network] for network in networks]
        print(f"| `{target.name}` | {target.core or '–'} | {' | '.join(found)} |")
    print()
    for reason, number in notes.numbers.items():
        print(f"{number}. {reason}")


def _cell(row: Row, notes: Notes) -> str:
    """The verdict with the time of a step, by how much a limit is exceeded, or what is missing."""
    if row.fit.verdict == "fits":
        return f"**fits**, {_time(row)}"
    if row.fit.verdict == "does not fit":
        wrong = [line for line in row.fit.lines if line.verdict == "does not fit"]
        return f"no: {'; '.join(_excess(line) for line in wrong)}"
    missing = dict.fromkeys(
        notes.number(f"{line.budget}: {reason}")
        for line in row.fit.lines
        if line.verdict == "unknown"
        for reason in line.missing or (line.note,)
    )
    time = _time(row)
    return f"unknown ({', '.join(map(str, missing))}){time and f', {time}'}"


def _time(row: Row) -> str:
    line = row.line("real time")
    if line is None or line.low is None:
        return ""
    bounds = f"≥ {line.low / MS:.1f}"
    if line.high is not None:
        bounds = f"{line.low / MS:.1f}–{line.high / MS:.1f}"
    of = f" of {line.offers / MS:.1f}" if line.offers else ""
    return f"{bounds}{of} ms {LETTERS[line.basis]}"


def _excess(line: FitLine) -> str:
    if line.needs is None or line.offers is None:
        return line.note
    unit, scale = ("ms", MS) if line.unit == "µs" else (line.unit, 1.0)
    needs, offers = (
        f"{value / scale:,.1f}".removesuffix(".0") for value in (line.needs, line.offers)
    )
    return f"{line.budget} {needs} of {offers} {unit} {LETTERS[line.basis]}"


def _print_cores(readings: dict[str, list[Reading]]) -> None:
    """A line for each network on each core."""
    print(f"\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for network, found in readings.items():
        for reading in found:
            figures = {figure.name.partition(" [")[0]: figure for figure in reading.figures}
            cells = [_figure(figures.get(name)) for name in FIGURES]
            print(f"| {network} | `{reading.place}` | {' | '.join(cells)} |")


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    value = f"{figure.value:,.0f}" if figure.unit else f"{figure.value:.2f}"
    return f"{value} {LETTERS[figure.provenance]}"


def _record(rows: Iterable[Row], readings: dict[str, list[Reading]]) -> dict[str, object]:
    return {
        "fits": [
            {
                "target": row.target.name,
                "network": row.network,
                "fit": row.fit.model_dump(mode="json"),
            }
            for row in rows
        ],
        "readings": {
            network: [reading.model_dump(mode="json") for reading in found]
            for network, found in readings.items()
        },
    }


if __name__ == "__main__":
    main()
