from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.calibration import Calibration, calibrate
from export.precision import tied_groups
from export.quantization import (
    FLAT_BEYOND,
    HIDDEN,
    LOGISTIC_OUTPUT,
    TANH_OUTPUT,
    Affine,
    QuantizedGraph,
    affine_of,
    quantize_graph,
    quantize_weights,
)
from export.step_graph import (
    Activation,
    Concat,
    Conv2d,
    Elementwise,
    Operator,
    Requantize,
    Reshape,
    StepGraph,
    Tensor,
)
from export.tflite import write_quantized
from runtime.engines import engine_from_bytes
from runtime.stft import StftContract
from targets.errors import InputError

Signals = list[npt.NDArray[np.float32]]


def test_calibration_sees_true_extremes_with_carried_states(
    graph: StepGraph, calibration: Calibration
) -> None:
    for state in graph.states:
        low, high = calibration.ranges[state.input.name]
        out_low, out_high = calibration.ranges[state.output.name]
        assert high - low > 0.1
        assert out_low <= low  # an input is an earlier output, or zero
        assert high <= out_high


def test_calibration_counts_frames_and_fingerprints_the_signals(
    graph: StepGraph, contract: StftContract, signals: Signals, calibration: Calibration
) -> None:
    assert calibration.frames == 8 * 64
    again = calibrate(graph, contract, signals)
    assert again == calibration
    louder = [signals[0] * 2, *signals[1:]]
    assert calibrate(graph, contract, louder).sha256 != calibration.sha256


@pytest.mark.parametrize("signals", [[], [np.zeros(0, "f4")], [np.zeros(4_000, "f4")]])
def test_calibration_refuses_silence(
    graph: StepGraph, contract: StftContract, signals: Signals
) -> None:
    with pytest.raises(InputError, match="empty or silent"):
        calibrate(graph, contract, signals)


def test_calibration_takes_signals_of_different_lengths(
    graph: StepGraph, contract: StftContract, signals: Signals
) -> None:
    assert calibrate(graph, contract, [signals[0], signals[1][:5_000]]).frames == 2 * 64


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_zero_is_exact_and_the_range_is_covered(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    affine = affine_of((low, high))
    assert -128 <= affine.zero_point <= 127
    assert affine.scale >= 1e-9
    assert (-128 - affine.zero_point) * affine.scale <= min(low, 0) + affine.scale
    assert (127 - affine.zero_point) * affine.scale >= max(high, 0) - affine.scale


def test_tensors_that_hold_the_same_values_share_a_scale(quantized: QuantizedGraph) -> None:
    activations = quantized.activations
    for state in quantized.graph.states:
        assert activations[state.input.name] == activations[state.output.name]
    for operator in quantized.graph.operators:
        match operator:
            case Concat():
                for source in operator.inputs:
                    assert activations[source.name] == activations[operator.output.name]
            case Reshape():
                assert activations[operator.input.name] == activations[operator.output.name]


def test_fixed_scales(quantized: QuantizedGraph) -> None:
    assert quantized.activations["gru_in"] == HIDDEN
    assert quantized.activations["gru_out"] == HIDDEN
    for operator in quantized.graph.operators:
        if isinstance(operator, Activation):
            fixed = LOGISTIC_OUTPUT if operator.kind == "logistic" else TANH_OUTPUT
            assert quantized.activations[operator.output.name] == fixed


def read_by(kind: Literal["logistic", "tanh"], *, others: bool = False) -> StepGraph:
    """A convolution, and the function that reads it; ``others``: a sum reads it as well."""
    shape = (1, 1, 4, 2)
    conv = _conv(np.ones((2, 1, 1, 2), np.float32), np.zeros(2, np.float32))
    operators: list[Operator] = [conv, Activation(kind, Tensor("gate", shape), conv.output)]
    mask = Tensor("gate", shape)
    if others:
        mask = Tensor("mask", shape)
        operators.append(Elementwise("add", mask, Tensor("gate", shape), conv.output))
    return StepGraph(conv.input, mask, (), tuple(operators))


@pytest.mark.parametrize("kind", ["logistic", "tanh"])
def test_a_range_ends_where_the_function_that_reads_it_is_flat(
    kind: Literal["logistic", "tanh"],
) -> None:
    low, high = FLAT_BEYOND[kind]
    fixed = LOGISTIC_OUTPUT if kind == "logistic" else TANH_OUTPUT

    def value(end: float) -> float:
        return float(np.tanh(end) if kind == "tanh" else 0.5 + 0.5 * np.tanh(end / 2.0))

    stored = [round(value(end) / fixed.scale) + fixed.zero_point for end in (low, high)]
    assert stored[0] <= -128
    assert stored[1] >= 127
    ranges = {"in": (-1.0, 1.0), "out": (-580.0, 470.0), "gate": (-1.0, 1.0), "mask": (-9.0, 9.0)}
    calibration = Calibration(ranges, 1, "")
    shown = quantize_graph(read_by(kind), calibration).activations["out"]
    assert shown.scale <= 1.2 * (high - low) / 255.0
    assert quantize_graph(read_by(kind), calibration, ["in", "out", "gate"]).activations["out"] == (
        Affine(2.0**-5, 0, "int16")
    )
    whole = quantize_graph(read_by(kind, others=True), calibration).activations["out"]
    assert whole.scale >= 1050.0 / 255.0


def test_a_narrow_range_stays_as_it_is() -> None:
    ranges = {"in": (-1.0, 1.0), "out": (-1.0, 2.0), "gate": (0.0, 1.0)}
    shown = quantize_graph(read_by("logistic"), Calibration(ranges, 1, "")).activations["out"]
    assert shown.scale == pytest.approx(3.0 / 255.0, rel=0.1)


def test_every_tensor_is_in_exactly_one_group(graph: StepGraph) -> None:
    names = [name for group in tied_groups(graph) for name in group]
    assert len(names) == len(set(names))
    assert set(names) >= {tensor.name for tensor in (*graph.inputs, *graph.outputs)}


def test_values_of_two_fixed_scales_meet_through_a_requantization(
    graph: StepGraph, calibration: Calibration
) -> None:
    reset = next(op.output for op in graph.operators if op.output.name == "gru/reset")
    joined = Concat(Tensor("joined", (1, 2, 1, 12)), (reset, graph.states[-1].input))
    changed = replace(graph, operators=(*graph.operators, joined))
    ranges = calibration.ranges | {"joined": (0.0, 1.0)}
    quantized = quantize_graph(changed, replace(calibration, ranges=ranges))
    assert quantized.activations["gru/reset/own"] == LOGISTIC_OUTPUT
    assert quantized.activations["gru/reset"] == quantized.activations["gru_in"]
    assert any(
        isinstance(operator, Requantize) and operator.input.name == "gru/reset/own"
        for operator in quantized.graph.operators
    )
    engine_from_bytes("litert-reference", write_quantized(quantized))


def _conv(weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> Conv2d:
    source, output = Tensor("in", (1, 1, 4, 2)), Tensor("out", (1, 1, 4, len(weight)))
    return Conv2d(output, source, weight, bias, (1, 1))


def test_weights_are_narrow_and_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 1, 3, 2)).astype(np.float32)
    stored = quantize_weights(_conv(weight, np.ones(5, np.float32)), Affine(0.01, 0))
    assert stored.weight.min() >= -127
    restored = stored.weight * stored.scales[:, None, None, None]
    steps = np.abs(restored - weight) / stored.scales[:, None, None, None]
    assert steps.max() <= 0.5001
    np.testing.assert_allclose(stored.bias * stored.scales * 0.01, 1.0, rtol=1e-3)


def test_a_channel_of_zeros_with_a_large_bias_keeps_its_bias() -> None:
    weight, bias = np.zeros((2, 1, 1, 2), np.float32), np.array([1e4, 0.0], np.float32)
    stored = quantize_weights(_conv(weight, bias), Affine(1e-3, 0))
    assert abs(int(stored.bias[0])) <= 2**30
    np.testing.assert_allclose(stored.bias[0] * float(stored.scales[0]) * 1e-3, 1e4, rtol=1e-6)
    assert stored.scales.min() >= 1e-9


@pytest.mark.parametrize("dead", ["encoder1_out", "encoder2", "gru/taken", "gru/carried"])
def test_a_dead_tensor_leaves_a_model_that_every_engine_loads(
    graph: StepGraph, calibration: Calibration, dead: str
) -> None:
    ranges = {
        name: (0.0, 0.0) if name.startswith(dead) else bounds
        for name, bounds in calibration.ranges.items()
    }
    ranges["decoder0/sum"] = ranges["decoder1/sum"] = (-50.0, 50.0)
    content = write_quantized(quantize_graph(graph, replace(calibration, ranges=ranges)))
    engines = ["litert", "litert-reference"] + ["tflm"] * (find_spec("tflite_micro") is not None)
    for name in engines:
        engine = engine_from_bytes(name, content)
        engine.run([np.zeros(port.shape, port.dtype) for port in engine.inputs])
