"""TensorFlow's converter as a witness: the same function, and int8 files as good as its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from distill.checkpoint import load_checkpoint
from distill.unet import UNet, UNetConfig
from export.calibration import calibrate, stack_features
from export.executor import StepExecutor
from export.gates.recurrence import largest_difference, random_states, trace
from export.lowering import lower
from export.material import Material
from export.quantization import quantize_graph
from export.step_graph import Conv2d, StepGraph
from export.tflite import write_float
from export.witness.judgement import float_witness, int8_witness, witness
from runtime.artefact import GateResult
from runtime.stft import StftContract
from tests.export.every_operator import every_operator

Array = npt.NDArray[np.float32]

needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="TensorFlow is an extra: sordino[tensorflow]"
)


def failure(result: GateResult) -> str:
    """What a gate found; nothing where it passed."""
    return "" if result.verdict == "pass" else f"{result.measured}; {result.detail}"


def test_without_tensorflow_the_witness_is_unavailable(
    graph: StepGraph,
    contract: StftContract,
    material: Material,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    results = witness(graph, contract, material)
    assert [result.name for result in results] == ["witness-float", "witness-int8"]
    assert {result.verdict for result in results} == {"unavailable"}
    assert all("sordino[tensorflow]" in result.detail for result in results)


@needs_tensorflow
@pytest.mark.slow
def test_float_files_agree(
    make_network: Callable[..., UNet], kind_config: UNetConfig, random_features: Array
) -> None:
    from export.witness.conversion import convert_float

    graph = lower(make_network(kind_config))
    frames = random_features.reshape(-1, 64, 3)
    result = float_witness(graph, write_float(graph), convert_float(graph), frames)
    assert failure(result) == ""


@needs_tensorflow
@pytest.mark.slow
def test_every_operator_is_rebuilt() -> None:
    from export.witness.conversion import ConvertedStep, convert_float, load_tensorflow
    from export.witness.rebuilt import step_function

    load_tensorflow()
    graph = every_operator()
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(10, 8, 4)).astype(np.float32)
    states = random_states(graph)
    executor = StepExecutor(graph)
    converted = trace(ConvertedStep(convert_float(graph)), frames, states)
    assert largest_difference(trace(executor, frames, states), converted) < 1e-5
    rebuilt = step_function(graph)({"features": frames[None, :1], "past_in": states[0]})
    exact = executor.tensors([frames[None, :1], states[0]])
    assert rebuilt.keys() == exact.keys()
    for name, values in exact.items():
        np.testing.assert_allclose(rebuilt[name], values, atol=1e-5, err_msg=name)


@needs_tensorflow
@pytest.mark.slow
def test_a_wrong_weight_in_the_rebuilt_network_is_noticed(
    graph: StepGraph, random_features: Array
) -> None:
    from export.witness.conversion import convert_float

    def spoiled(operator: Any) -> Any:
        if not (isinstance(operator, Conv2d) and operator.output.name == "decoder2/conv"):
            return operator
        weight = operator.weight.copy()
        weight.reshape(-1)[5] *= -1
        return replace(operator, weight=weight)

    other = replace(graph, operators=tuple(map(spoiled, graph.operators)))
    frames = random_features.reshape(-1, 64, 3)
    result = float_witness(graph, write_float(graph), convert_float(other), frames)
    assert result.verdict == "fail", result.measured


@needs_tensorflow
@pytest.mark.slow
def test_int8_files_are_as_good_as_the_converters(
    run_folder: Path, contract: StftContract, material: Material
) -> None:
    from export.witness.conversion import convert_int8

    graph = lower(load_checkpoint(run_folder).network)
    calibration = calibrate(graph, contract, material.calibration)
    both = witness(graph, contract, material)
    assert [failure(result) for result in both] == ["", ""]
    assert "TensorFlow" in both[0].detail
    assert "of 3 states" in both[1].detail
    # Ranges so wide that what is heard has a few steps.
    broad = {name: (16 * low, 16 * high) for name, (low, high) in calibration.ranges.items()}
    coarse = quantize_graph(graph, replace(calibration, ranges=broad))
    theirs = convert_int8(graph, stack_features(contract, material.calibration)[:2])
    result = int8_witness(coarse, theirs, contract, material.held_out, graph)
    assert result.verdict == "fail", result.measured
