"""Counts of the preset `tiny`, untrained, int8, on simulated cores, as instructions.json has them.

    python -m tests.golden.make_instructions

Run from the project's root when the generated code was meant to change. The counts hold for the
compilers that the file names.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from distill.unet import preset
from runtime.devices.simulator import measure
from runtime.figures import Figure
from runtime.profiling.backends import Request
from runtime.profiling.records import Reading
from tests.runtime.devices.generated import untrained_artefact

CORES = ("cortex-m4", "cortex-m55")
FRAMES = 100
FILE = Path(__file__).with_name("instructions.json")


def profile() -> dict[str, Reading]:
    """Core → what the backend `simulator` says of the network."""
    with tempfile.TemporaryDirectory() as folder:
        artefact = untrained_artefact(Path(folder), preset("tiny"))
        request = Request(address=",".join(CORES), frames=FRAMES)
        (readings,) = measure([artefact], request).readings
    return {reading.place: reading for reading in readings}


def counts(reading: Reading) -> dict[str, Any]:
    """All whole numbers of a reading; of those that are not the same in every frame the least, the
    median and the greatest."""
    return {
        "figures": {
            figure.name: _spread(figure.low, figure.value, figure.high)
            for figure in reading.figures
            if figure.unit in ("instructions", "bytes")
        },
        "operators": {
            f"{row.step} {row.kind} {row.output}": _spread(row.low, row.value, row.high)
            for row in reading.operators
        },
    }


def _spread(*values: float | None) -> int | list[int]:
    known = [int(value) for value in values if value is not None]
    return known[0] if len(set(known)) == 1 else known


def compiler(reading: Reading) -> str:
    """What compiled the firmware, with its version and flags."""
    return _figure(reading, "flash").tool


def simulator(reading: Reading) -> str:
    """What ran it."""
    return _figure(reading, "step, median").tool


def _figure(reading: Reading, name: str) -> Figure:
    wanted = f"{name} [{reading.place}]"
    return next(figure for figure in reading.figures if figure.name == wanted)


def main() -> None:
    golden = {
        core: {"compiler": compiler(reading), "simulator": simulator(reading), **counts(reading)}
        for core, reading in profile().items()
    }
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
