from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.c.curves import logistic_s8, tanh_s8
from export.curve_scales import Curve, agreeing_scale, rounded_curve
from export.quantization import LOGISTIC_OUTPUT, TANH_OUTPUT, Affine, QuantizedGraph
from export.step_graph import Activation, StepGraph, Tensor
from export.tflite import write_quantized
from runtime.engines import engine_from_bytes

CURVES = st.sampled_from(["logistic", "tanh"])
SCALES = st.floats(0.00390625, 3.5, width=32)
ZERO_POINTS = st.integers(-128, 127)


def _engines(curve: Curve, scale: float, zero_point: int) -> list[npt.NDArray[np.int8]]:
    """Every stored value through LiteRT's reference kernel and through TFLM."""
    source, output = Tensor("in", (1, 1, 256, 1)), Tensor("out", (1, 1, 256, 1))
    graph = StepGraph(source, output, (), (Activation(curve, output, source),))
    fixed = LOGISTIC_OUTPUT if curve == "logistic" else TANH_OUTPUT
    quantized = QuantizedGraph(graph, {"in": Affine(scale, zero_point), "out": fixed}, {})
    model = write_quantized(quantized)
    stored = np.arange(-128, 128).astype(np.int8).reshape(source.shape)
    return [
        engine_from_bytes(name, model).run([stored])[0].reshape(-1)
        for name in ("litert-reference", "tflm")
    ]


@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="needs tflite-micro")
@settings(max_examples=40, deadline=None)
@given(curve=CURVES, scale=SCALES, zero_point=ZERO_POINTS)
def test_both_curves_are_those_of_the_engines(curve: Curve, scale: float, zero_point: int) -> None:
    litert, tflm = _engines(curve, scale, zero_point)
    fixed_point = logistic_s8 if curve == "logistic" else tanh_s8
    np.testing.assert_array_equal(rounded_curve(curve, scale, zero_point), litert)
    np.testing.assert_array_equal(fixed_point(scale, zero_point), tflm)


@given(curve=CURVES, scale=SCALES, zero_point=ZERO_POINTS)
def test_a_scale_nearby_agrees(curve: Curve, scale: float, zero_point: int) -> None:
    found = agreeing_scale(scale, zero_point, {curve})
    assert scale <= found <= 1.1 * scale
    fixed_point = logistic_s8 if curve == "logistic" else tanh_s8
    np.testing.assert_array_equal(
        rounded_curve(curve, found, zero_point), fixed_point(found, zero_point)
    )


def test_there_are_scales_that_disagree() -> None:
    """Else there would be nothing to choose."""
    assert not np.array_equal(rounded_curve("logistic", 2.0, 0), logistic_s8(2.0, 0))
    assert agreeing_scale(2.0, 0, {"logistic"}) > 2.0
