"""Integer convolutions on simulated cores, bit by bit: Helium, DSP and Thumb without emulation."""

from __future__ import annotations

import pytest

from targets.errors import GateUnavailable
from tests.export.c.exactness.cases import FAMILIES
from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.on_cores import assert_exact_on

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
SEED = 5
# Cases of each operator and type: most for the core whose instructions nothing else runs.
CASES = {"cortex-m0": 20, "cortex-m4": 60, "cortex-m55": 250, "rv32imac": 20}


@pytest.mark.slow
@pytest.mark.parametrize("core", CASES)
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_convolutions_are_exact_on_a_core(core: str, dtype: str) -> None:
    pytest.importorskip("tflite_micro", reason="TFLM is the oracle")
    cases = [
        FAMILIES[name].draw(Drawer((SEED, number)), dtype)
        for name in OPERATORS
        for number in range(CASES[core])
    ]
    try:
        assert_exact_on(core, cases)
    except GateUnavailable as missing:
        pytest.skip(str(missing))
