from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.unet import UNetConfig
from export.calibration import Calibration, calibrate
from export.executor import StepExecutor
from export.lowering import lower
from export.precision import wide_everywhere
from export.quantization import Affine, QuantizedGraph, quantize_graph
from export.schedule import stages
from export.simulation import LIMITS, rounded, simulator
from export.step_graph import StepGraph, sources
from export.tflite import write_quantized
from export.torch_executor import TorchExecutor
from runtime.engines import engine_from_bytes
from runtime.stft import StftContract
from tests.export.conftest import MakeNetwork
from tests.export.every_operator import every_operator

Features = npt.NDArray[np.float32]
Signals = list[npt.NDArray[np.float32]]


@given(
    st.floats(1e-3, 1.0),
    st.integers(-128, 127),
    st.lists(st.floats(-200.0, 200.0), min_size=1, max_size=20),
)
def test_rounded_values_are_the_nearest_on_the_grid(
    scale: float, zero_point: int, values: list[float]
) -> None:
    grid = Affine(float(np.float32(scale)), zero_point)
    array = np.array(values, np.float32)
    stored = np.clip(np.rint(array / np.float32(scale)) + zero_point, *LIMITS["int8"])
    np.testing.assert_allclose(
        rounded(array, grid), (stored - zero_point) * np.float32(scale), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("wide", [False, True])
def test_a_step_is_that_of_the_file_within_a_few_steps_of_the_mask(
    graph: StepGraph, calibration: Calibration, random_features: Features, wide: bool
) -> None:
    quantized = quantize_graph(graph, calibration, wide_everywhere(graph) if wide else ())
    engine = engine_from_bytes("litert-reference", write_quantized(quantized))
    grids = quantized.activations
    rng = np.random.default_rng(0)
    inputs = [
        rng.uniform(*calibration.ranges[tensor.name], tensor.shape).astype(np.float32)
        for tensor in quantized.graph.inputs
    ]
    stored = [
        (
            np.rint(rounded(value, grids[tensor.name]) / grids[tensor.name].scale)
            + grids[tensor.name].zero_point
        ).astype(port.dtype)
        for value, tensor, port in zip(inputs, quantized.graph.inputs, engine.inputs, strict=True)
    ]
    results = engine.run(stored)
    simulated = simulator(quantized).run(inputs)
    for tensor, one, other in zip(quantized.graph.outputs, results, simulated, strict=True):
        grid = grids[tensor.name]
        real = (one.astype(np.float64) - grid.zero_point) * grid.scale
        assert np.abs(real - other).max() <= (5.5 * grid.scale if not wide else 2e-3)


def test_only_cycles_through_a_state_are_looped(graph: StepGraph) -> None:
    found = stages(graph)
    assert sum(len(stage.operators) for stage in found) == len(graph.operators)
    looped = [stage for stage in found if stage.looped]
    assert [state.name for stage in looped for state in stage.states] == ["gru"]
    assert {operator.output.name.split("/")[0] for operator in looped[0].operators} == {
        "gru",
        "gru_out",
    }


def test_stages_come_after_what_they_read(
    make_network: MakeNetwork, kind_config: UNetConfig
) -> None:
    graph = lower(make_network(kind_config))
    delays = {state.input.name: state.output.name for state in graph.states}
    known = {graph.features.name}
    for stage in stages(graph):
        carried = {state.input.name for state in stage.states}
        inside = {operator.output.name for operator in stage.operators}
        for operator in stage.operators:
            for source in sources(operator):
                if source.name in carried:
                    continue
                name = delays.get(source.name, source.name)
                assert name in known or (stage.looped and name in inside)
            if not stage.looped:
                known.add(operator.output.name)
        known |= inside


def test_torch_computes_every_kind_of_network_in_float(
    make_network: MakeNetwork, kind_config: UNetConfig, random_features: Features
) -> None:
    graph = lower(make_network(kind_config))
    _assert_equal(graph, random_features[:, :12])


def test_torch_computes_every_operator_in_float() -> None:
    features = np.random.default_rng(3).normal(size=(3, 5, 8, 4)).astype(np.float32)
    _assert_equal(every_operator(), features)


@torch.no_grad()
def _assert_equal(graph: StepGraph, features: Features) -> None:
    executor = TorchExecutor(graph)
    half = features.shape[1] // 2
    first = executor(torch.from_numpy(features[:, :half]))
    second = executor(torch.from_numpy(features[:, half:]), executor.last_states(first))
    for frame, wanted in enumerate(StepExecutor(graph).sequence(features)):
        part, place = (first, frame) if frame < half else (second, frame - half)
        for name, array in wanted.items():
            np.testing.assert_allclose(
                part[name][:, place].numpy(), array, rtol=1e-4, atol=1e-4, err_msg=name
            )


@torch.no_grad()
def test_torch_rounds_as_the_simulation_does(
    graph: StepGraph, quantized: QuantizedGraph, random_features: Features
) -> None:
    heard = random_features[:, :10]
    values = TorchExecutor(graph, quantized)(torch.from_numpy(heard))
    mask = values[graph.mask.name][:, :, 0].numpy()
    difference = np.abs(mask - simulator(quantized).masks(heard))
    # A value between two steps may fall to either side; it is seldom and small.
    assert np.mean(difference > 1.5 / 128) < 0.01
    assert difference.max() < 16 / 128


def test_weights_come_back_as_they_went_in(graph: StepGraph, quantized: QuantizedGraph) -> None:
    again = TorchExecutor(graph, quantized).trained_graph()
    assert [type(one) for one in again.operators] == [type(one) for one in graph.operators]
    for one, other in zip(again.weighted, graph.weighted, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)


def test_every_weight_has_a_gradient(
    graph: StepGraph, contract: StftContract, signals: Signals, random_features: Features
) -> None:
    executor = TorchExecutor(graph, quantize_graph(graph, calibrate(graph, contract, signals)))
    executor(torch.from_numpy(random_features[:, :6]))["mask"].square().sum().backward()
    for parameter in executor.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    assert sum(float(p.grad.abs().sum()) > 0 for p in executor.parameters()) > 20  # type: ignore[union-attr]
