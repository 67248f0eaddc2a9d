"""Integer kernels on simulated cores, bit by bit: Helium, DSP and Thumb without emulation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from targets.errors import GateUnavailable
from tests.export.c.exactness.cases import FAMILIES
from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.on_cores import assert_exact_on

OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
# Those with instructions of a core in them: vectors, gathered tables, saturating shifts.
ELEMENTWISE = ("ADD", "SUB", "MUL", "LOGISTIC", "TANH", "LEAKY_RELU", "MEAN")
SEED = 5
# Cases of each operator and type: most for the core whose instructions nothing else runs.
CASES = {"cortex-m0": 20, "cortex-m4": 60, "cortex-m55": 200, "rv32imac": 20}


# Of the kernels of a core: what is right, and a mistake that its cases must find.
MISTAKES = {
    "cortex-m4": (b"s->b1 = __smlad(odd1, odd_b, s->b1)", b"s->b1 = __smlad(odd1, odd_a, s->b1)"),
    "cortex-m55": (b"vshrq_n_s32(vandq_s32(value, right), 31)", b"vandq_s32(value, right)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("core", CASES)
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_convolutions_are_exact_on_a_core(core: str, dtype: str) -> None:
    _check(core, dtype, OPERATORS, CASES[core])


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_elementwise_kernels_are_exact_on_a_core(core: str, dtype: str) -> None:
    _check(core, dtype, ELEMENTWISE, 60)


@pytest.mark.slow
@pytest.mark.parametrize("core", MISTAKES)
def test_a_mistake_in_the_instructions_of_a_core_is_found(core: str) -> None:
    with pytest.raises(AssertionError, match=f"{core}: frame 0,"):
        _check(core, "int8", ["CONV_2D"], 10, MISTAKES[core])


def _check(
    core: str,
    dtype: str,
    operators: Sequence[str],
    count: int,
    planted: tuple[bytes, bytes] | None = None,
) -> None:
    pytest.importorskip("tflite_micro", reason="TFLM is the oracle")
    cases = [
        FAMILIES[name].draw(Drawer((SEED, number)), dtype)
        for name in operators
        for number in range(count)
    ]
    try:
        assert_exact_on(core, cases, planted)
    except GateUnavailable as missing:
        pytest.skip(str(missing))
