"""Preset × target: what a step asks for, what that is known from, and whether it fits.

    python -m tests.benchmarks.target_table [--presets tiny small teacher] [--targets cortex-m4 …]
        [--artefacts runs/small/artefacts/student-c-int8 …] [--frames 100] [--json FILE]

Run from the project's root. Every preset is built as int8 C without being trained, which changes
no count by much; ``--artefacts`` adds C artefacts that were. Each is simulated once on every core
that a target has. Prints Markdown; a letter behind each figure is its class.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.unet import PRESETS, preset
from runtime.artefact import Artefact, load_artefact
from runtime.devices.simulator import core_of, measure
from runtime.figures import Figure
from runtime.profiling.backends import Request
from runtime.profiling.exact import exact_figures
from runtime.profiling.modelled import modelled
from runtime.profiling.needs_of import judge
from runtime.profiling.records import Reading
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
COLUMNS = (
    *("target", "core", "network", "flash", "RAM", "stack", "instructions", "hop of audio"),
    *("µs", "verdict", "because"),
)


@dataclass(frozen=True)
class Row:
    """One network on one target."""

    target: Target
    network: str
    figures: dict[str, Figure]  # without the place in their names
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
    with tempfile.TemporaryDirectory() as folder:
        networks = dict(_networks(options, Path(folder)))
        rows = [row for name, artefact in networks.items() for row in _rows(name, artefact, targets,
                options.frames)]  # fmt: skip
    _print_verdicts(rows, targets, list(networks))
    _print_figures(rows, targets)
    if options.json:
        options.json.write_text(json.dumps([_record(row) for row in rows], indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="*", default=["tiny", "small", "teacher"])
    parser.add_argument("--artefacts", nargs="*", type=Path, default=[])
    parser.add_argument("--targets", nargs="*")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if unknown := set(options.presets) - set(PRESETS):
        parser.error(f"no preset {', '.join(sorted(unknown))}: {', '.join(PRESETS)}")
    return options


def _devices() -> list[Target]:
    return [target for target in list_targets() if target.kind == "device"]


def _networks(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Artefact]]:
    for name in options.presets:
        yield name, untrained_artefact(folder / name, preset(name), name=name)
    for path in options.artefacts:
        artefact = load_artefact(path)
        yield f"{artefact.sidecar.network.preset}, trained", artefact


def _rows(name: str, artefact: Artefact, targets: Sequence[Target], frames: int) -> Iterator[Row]:
    cores = {core.name for target in targets if (core := core_of(target.core))}
    request = Request(address=",".join(sorted(cores)), frames=frames)
    ((*readings,),) = measure([artefact], request).readings if cores else ((),)
    wrong = [part for part in readings if not part.matches]
    if wrong:
        raise SystemExit(f"{name} on {wrong[0].place}: {wrong[0].difference}")
    places = {reading.place: reading for reading in readings}
    for target in targets:
        core = core_of(target.core)
        yield _row(name, artefact, target, places.get(core.name) if core else None)


def _row(name: str, artefact: Artefact, target: Target, reading: Reading | None) -> Row:
    sidecar = artefact.sidecar
    found = [*exact_figures(sidecar), *(reading.figures if reading else ())]
    found += modelled(sidecar, found, target).figures
    return Row(
        target=target,
        network=name,
        figures={figure.name.partition(" [")[0]: figure for figure in found},
        fit=judge(sidecar, found, target),
    )


def _print_verdicts(
    rows: Iterable[Row], targets: Iterable[Target], networks: Sequence[str]
) -> None:
    """Target by network, verdicts alone."""
    verdicts = {(row.target.name, row.network): row.fit.verdict for row in rows}
    print(f"| target | {' | '.join(networks)} |\n|{' --- |' * (len(networks) + 1)}")
    for target in targets:
        cells = [verdicts[target.name, network] for network in networks]
        print(f"| `{target.name}` | {' | '.join(cells)} |")


def _print_figures(rows: Sequence[Row], targets: Sequence[Target]) -> None:
    """All figures, in the order of the targets, then the reasons."""
    notes = Notes()
    print(f"\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for target in targets:
        for row in (row for row in rows if row.target is target):
            print(f"| {' | '.join(_cells(row, notes))} |")
    print()
    for reason, number in notes.numbers.items():
        print(f"{number}. {reason}")


def _cells(row: Row, notes: Notes) -> list[str]:
    return [
        f"`{row.target.name}`",
        row.target.core or "–",
        row.network,
        _need(row.line("flash")),
        _need(row.line("RAM")),
        *(
            _figure(row.figures.get(name))
            for name in ("stack of a step", "step, maximum", "hop of audio, maximum")
        ),
        _time(row.line("real time")),
        row.fit.verdict,
        "; ".join(_reasons(row.fit, notes)) or "–",
    ]


def _need(line: FitLine | None) -> str:
    if line is None or line.needs is None:
        return "–"
    return f"{line.needs:,.0f} {LETTERS[line.basis]}"


def _time(line: FitLine | None) -> str:
    if line is None or line.low is None:
        return "–"
    if line.high is None:
        return f"≥ {line.low:,.0f} {LETTERS[line.basis]}"
    return f"{line.low:,.0f}–{line.high:,.0f} {LETTERS[line.basis]}"


def _figure(figure: Figure | None) -> str:
    return "–" if figure is None else f"{figure.value:,.0f} {LETTERS[figure.provenance]}"


def _reasons(fit: FitReport, notes: Notes) -> Iterator[str]:
    """By how much a line is exceeded, or the numbers of what is missing."""
    for line in fit.lines:
        if line.verdict == "does not fit":
            yield f"{line.budget}: {_excess(line)}"
    if fit.verdict == "unknown":
        for line in fit.lines:
            if line.verdict == "unknown":
                reasons = line.missing or (line.note,)
                numbers = [str(notes.number(f"{line.budget}: {reason}")) for reason in reasons]
                yield f"{line.budget} ({', '.join(numbers)})"


def _excess(line: FitLine) -> str:
    if line.needs is None or line.offers is None:
        return line.note
    return f"{line.needs:,.0f} of {line.offers:,.0f} {line.unit} {LETTERS[line.basis]}"


def _record(row: Row) -> dict[str, object]:
    return {
        "target": row.target.name,
        "network": row.network,
        "figures": {name: figure.model_dump(mode="json") for name, figure in row.figures.items()},
        "fit": row.fit.model_dump(mode="json"),
    }


if __name__ == "__main__":
    main()
