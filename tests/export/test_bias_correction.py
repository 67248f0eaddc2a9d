from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from export.bias_correction import correct_biases, tensor_means
from export.calibration import Calibration, stack_features
from export.executor import StepExecutor
from export.gates.stored_weights import stored_weights
from export.quantization import quantize_graph
from export.simulation import with_stored_weights
from export.step_graph import Conv2d, StepGraph
from export.tflite import write_quantized
from runtime.stft import StftContract

Features = npt.NDArray[np.float32]


def _means(graph: StepGraph, stacked: Features) -> dict[str, Features]:
    return tensor_means(graph, stacked, {operator.input.name for operator in graph.weighted})


def test_the_mean_of_every_channel_is_restored(
    graph: StepGraph, calibration: Calibration, contract: StftContract, signals: list[Features]
) -> None:
    """Of each layer by itself: the stored weights on what the float graph feeds it."""
    stacked = stack_features(contract, signals)
    # Linear layers, so that the mean can be seen behind them, and coarse weights.
    linear = replace(
        graph,
        operators=tuple(
            replace(operator, activation="none") if isinstance(operator, Conv2d) else operator
            for operator in graph.operators
        ),
    )
    quantized = quantize_graph(linear, calibration)
    means = _means(linear, stacked)
    corrected = correct_biases(linear, quantized, means)
    assert max(corrected.shifts.values()) > 0.01
    plain = with_stored_weights(quantized)
    mended = with_stored_weights(quantize_graph(corrected.graph, calibration))
    wanted = tensor_means(linear, stacked, [operator.output.name for operator in linear.weighted])

    def error(one: StepGraph, index: int) -> float:
        layer = one.weighted[index]
        single = replace(
            one, operators=(layer,), states=(), features=layer.input, mask=layer.output
        )
        found = StepExecutor(single).run([means[layer.input.name]])[0]
        difference = (found - wanted[layer.output.name]).mean(axis=(0, 1, 2))
        return float(np.abs(difference).max())

    before = [error(plain, index) for index in range(len(linear.weighted))]
    after = [error(mended, index) for index in range(len(linear.weighted))]
    assert sum(after) < 0.1 * sum(before)


def test_only_biases_change_and_the_gate_knows_the_corrected_graph(
    graph: StepGraph, calibration: Calibration, contract: StftContract, signals: list[Features]
) -> None:
    quantized = quantize_graph(graph, calibration)
    means = _means(graph, stack_features(contract, signals))
    corrected = correct_biases(graph, quantized, means).graph
    for one, other in zip(graph.weighted, corrected.weighted, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
    content = write_quantized(quantize_graph(corrected, calibration))
    assert stored_weights(content, corrected).verdict == "pass"
    assert stored_weights(content, graph).verdict == "fail"
