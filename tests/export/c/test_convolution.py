"""Convolutions and matrix products: what is refused, and transposed ones through the generator."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from export.c.arithmetic import INT32, multiplied, quantized_multiplier
from export.c.call import Call, Refused
from export.c.generator import generate
from export.c.operators.table import lower
from tests.export.c.exactness import convolution_cases
from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import Case, Value, file_of, model_of
from tests.export.c.exactness.oracles import tflm
from tests.export.c.support import HOST_COMPILERS, native

GENERATORS = (
    convolution_cases.conv_2d,
    convolution_cases.depthwise_conv_2d,
    convolution_cases.fully_connected,
    convolution_cases.transpose_conv,
)
EACH = 8
SAME = schema.Padding.SAME


@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="TFLM is the oracle")
@pytest.mark.skipif(not HOST_COMPILERS, reason="no C compiler")
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_generated_convolutions_are_exact(dtype: str) -> None:
    """Side by side in one model: several calls write one tensor, and all share the scratch."""
    cases = [
        generator(Drawer((8, place, number)), dtype)
        for place, generator in enumerate(GENERATORS)
        for number in range(EACH)
    ]
    engine = native(generate(file_of(cases)))
    found = engine.run([feed for one in cases for feed in one.feeds])
    wanted = [array for outputs in tflm(cases) for array in outputs]
    for given_, right in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(given_, right)


def value(*shape: int, dtype: str = "int8", scale: float = 0.5, zero_point: int = 0) -> Value:
    return Value(shape, dtype, (scale,), (zero_point,))


def weights(*shape: int, scale: float = 0.5, zero_point: int = 0, axis: int = 0) -> Value:
    return Value.constant(np.full(shape, 100, np.int8), (scale,), (zero_point,), axis)


def convolution(
    *,
    source: Value | None = None,
    weight: Value | None = None,
    bias: Value | None = None,
    result: Value | None = None,
    **options: int,
) -> Case:
    """A 1×3 convolution of 4 channels to 2 with parts of it replaced."""
    stored: Any = schema.Conv2DOptionsT()
    stored.strideH = stored.strideW = 1
    for name, option in options.items():
        setattr(stored, name, option)
    inputs = [source or value(1, 1, 6, 4), weight or weights(2, 1, 3, 4)]
    inputs += [bias] if bias is not None else []
    return Case("CONV_2D", stored, tuple(inputs), (result or value(1, 1, 6, 2),), ())


def lowered(case: Case) -> Call:
    model = model_of([case])
    call = lower(model, model.operators[0])
    assert isinstance(call, Call)
    return call


REFUSED: dict[str, tuple[Callable[[], Case], str]] = {
    "weights computed": (
        lambda: convolution(weight=value(2, 1, 3, 4)),
        "are no constant",
    ),
    "weights with a zero point": (
        lambda: convolution(weight=weights(2, 1, 3, 4, zero_point=3)),
        "zero points of 't1' are not 0",
    ),
    "scales along another axis": (
        lambda: convolution(
            weight=Value.constant(np.ones((2, 1, 3, 4), np.int8), (0.5, 0.25), (0, 0), 1)
        ),
        "has 2 scales for 2 channels",
    ),
    "another output than the window gives": (
        lambda: convolution(result=value(1, 1, 5, 2)),
        "writes 5 values along an axis of 6",
    ),
    "groups that do not fit": (
        lambda: convolution(weight=weights(2, 1, 3, 3)),
        "4 channels do not split into groups of 3",
    ),
    "a fused TANH": (
        lambda: convolution(fusedActivationFunction=schema.ActivationFunctionType.TANH),
        "the fused activation TANH has no kernel",
    ),
    "a stride of 0": (lambda: convolution(strideW=0), "stride 0 or dilation 1 is not positive"),
    "sums beyond 32 bits": (
        lambda: convolution(bias=Value.constant(np.array([0, INT32[1]], np.int32))),
        "its sums may need more than 31 bits",
    ),
    "a bias of another type": (
        lambda: convolution(bias=Value.constant(np.zeros(2, np.int64))),
        "its bias is int64; beside int8 it is int32",
    ),
    "too few biases": (
        lambda: convolution(bias=Value.constant(np.zeros(1, np.int32))),
        "is no constant of 2 values",
    ),
    "types that no kernel mixes": (
        lambda: convolution(result=value(1, 1, 6, 2, dtype="int16")),
        "no kernel takes int8 times int8 to int16",
    ),
    "a zero point of int16": (
        lambda: convolution(
            source=value(1, 1, 6, 4, dtype="int16", zero_point=5),
            result=value(1, 1, 6, 2, dtype="int16"),
        ),
        "the zero point of 't0' is 5",
    ),
    "scales too far apart": (
        lambda: convolution(
            source=value(1, 1, 6, 4, scale=1e20), result=value(1, 1, 6, 2, scale=1e-20)
        ),
        "its scales do not fit together",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_kernel_computes_is_refused(case: str) -> None:
    build, reason = REFUSED[case]
    with pytest.raises(Refused, match="CONV_2D") as refused:
        lowered(build())
    assert reason in str(refused.value)


def test_the_parts_that_are_replaced_are_what_is_refused() -> None:
    assert lowered(convolution(padding=SAME)).macs == 6 * 2 * 12


def test_shuffled_weights_are_refused() -> None:
    options = schema.FullyConnectedOptionsT()
    options.weightsFormat = schema.FullyConnectedOptionsWeightsFormat.SHUFFLED4x16INT8
    case = Case("FULLY_CONNECTED", options, (value(1, 4), weights(3, 4)), (value(1, 3),), ())
    with pytest.raises(Refused, match="shuffled"):
        lowered(case)


def test_a_matrix_times_one_vector_needs_no_scratch() -> None:
    matrix = Case(
        "FULLY_CONNECTED",
        schema.FullyConnectedOptionsT(),
        (value(1, 4), weights(3, 4)),
        (value(1, 3),),
        (),
    )
    pointwise = convolution(
        source=value(1, 1, 1, 4), weight=weights(2, 1, 1, 4), result=value(1, 1, 1, 2)
    )
    for call in (lowered(matrix), lowered(pointwise)):
        assert call.kernel == "sordino_dense_s8"
        assert call.scratch == 0


def test_every_multiplication_of_a_transposed_convolution_is_of_two_values_that_meet() -> None:
    """No zeros are multiplied between input values: as many MACs as the operator has."""
    options: Any = schema.TransposeConvOptionsT()
    options.padding, options.strideH, options.strideW = SAME, 1, 2
    shape = Value.constant(np.array([1, 1, 12, 3], np.int32))
    case = Case(
        "TRANSPOSE_CONV",
        options,
        (shape, weights(3, 1, 4, 5), value(1, 1, 6, 5)),
        (value(1, 1, 12, 3),),
        (),
    )
    model = model_of([case])
    calls = lower(model, model.operators[0])
    assert isinstance(calls, tuple)
    assert sum(call.macs for call in calls if isinstance(call, Call)) == 6 * 4 * 5 * 3


@given(
    st.integers(-(2**30), 2**30),
    st.floats(2.0**-25, 2.0**-3, exclude_max=True),
    st.integers(-128, 127),
)
def test_the_short_way_rounds_as_the_long_one(total: int, real: float, zero_point: int) -> None:
    """conv_scaling.h takes it for shifts of −23 to −2: one constant for both roundings."""
    multiplier = quantized_multiplier(real)
    shift = -multiplier.shift - 2
    if not 0 <= shift <= 21:
        return
    constant = (((2 * zero_point + 1) << shift) << 32) + 2**30 - (2**31 if total < 0 else 0)
    short = ((constant + total * multiplier.value) >> 32 >> shift) >> 1
    assert short == int(multiplied(np.array([total]), multiplier)[0]) + zero_point
