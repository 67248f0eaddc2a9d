"""Instructions of the preset `tiny` on M4 and M55 are those of the golden file, each single one."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from runtime.figures import Provenance
from runtime.profiling.records import Reading
from tests.golden import make_instructions as golden
from tests.runtime.devices import handmade


@cache
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(golden.FILE.read_text())
    return found


@cache
def profiled() -> dict[str, Reading]:
    return golden.profile()


@pytest.mark.slow
@pytest.mark.parametrize("core", handmade.simulated(*golden.CORES))
def test_counts_are_golden_to_the_instruction(core: str) -> None:
    reading = profiled()[core]
    compiler, simulator = golden.compiler(reading), golden.simulator(reading)
    known = dict(expected()[core])
    if compiler != known["compiler"]:
        pytest.skip(f"golden counts hold for {known['compiler']}; here is {compiler}")
    assert reading.matches, reading.difference  # bit-exact and the same in two runs
    assert all(figure.provenance is Provenance.SIMULATED for figure in reading.figures)
    assert {"compiler": compiler, "simulator": simulator, **golden.counts(reading)} == {
        **known,
        "simulator": simulator,  # the counts do not depend on it
    }
