from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from export.calibration import Calibration, calibrate, stack_features
from export.executor import StepExecutor
from export.fine_tuning import fine_tune
from export.lowering import lower
from export.quantization import quantize_graph
from export.simulation import simulator
from export.step_graph import StepGraph
from runtime.stft import StftContract
from tests.export.conftest import SMALL, MakeNetwork

Signals = list[npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def student(make_network: MakeNetwork) -> StepGraph:
    return lower(make_network(SMALL.model_copy(update={"widths": (4, 6), "hidden": 6}), 3))


@pytest.fixture(scope="module")
def ranges(student: StepGraph, contract: StftContract, signals: Signals) -> Calibration:
    return calibrate(student, contract, signals)


def test_steps_regain_some_of_what_clipping_lost(
    student: StepGraph, ranges: Calibration, contract: StftContract, signals: Signals
) -> None:
    clipped = replace(
        ranges,
        ranges={name: (0.7 * low, 0.7 * high) for name, (low, high) in ranges.ranges.items()},
    )
    stacked = stack_features(contract, signals)
    tuned = fine_tune(student, quantize_graph(student, clipped), stacked, 0.3, 12, 2e-3)
    assert tuned.steps == 12
    assert tuned.helped
    assert tuned.loss_after < 0.9 * tuned.loss_before
    wanted = StepExecutor(student).masks(stacked)

    def error(graph: StepGraph) -> float:
        masks = simulator(quantize_graph(graph, clipped)).masks(stacked)
        return float(np.mean(np.square(masks - wanted)))

    assert error(tuned.graph) < error(student)


def test_the_same_steps_give_the_same_weights(
    student: StepGraph, ranges: Calibration, contract: StftContract, signals: Signals
) -> None:
    stacked = stack_features(contract, signals[:4])
    quantized = quantize_graph(student, ranges)
    one, other = (fine_tune(student, quantized, stacked, 0.3, steps=3) for _ in range(2))
    for left, right in zip(one.graph.weighted, other.graph.weighted, strict=True):
        np.testing.assert_array_equal(left.weight, right.weight)
        np.testing.assert_array_equal(left.bias, right.bias)


def test_steps_that_do_harm_are_told(
    student: StepGraph, ranges: Calibration, contract: StftContract, signals: Signals
) -> None:
    stacked = stack_features(contract, signals[:4])
    quantized = quantize_graph(student, ranges)
    assert not fine_tune(student, quantized, stacked, 0.3, steps=3, learning_rate=0.3).helped
    heard: list[float] = []
    fine_tune(student, quantized, stacked, 0.3, steps=2, progress=heard.append)
    assert heard == [0.5, 1.0]
