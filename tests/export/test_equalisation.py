from __future__ import annotations

from dataclasses import replace

import numpy as np

from distill.unet import UNetConfig
from export.calibration import calibrate, stack_features
from export.equalisation import channel_reach, equalise
from export.executor import Array, StepExecutor
from export.lowering import lower
from export.quantization import quantize_graph
from export.simulation import simulator
from export.step_graph import Conv2d, State, StepGraph, Tensor, TransposeConv2d
from runtime.stft import StftContract
from tests.export.conftest import MakeNetwork
from tests.export.every_operator import every_operator


def _masks(graph: StepGraph, features: Array) -> Array:
    return StepExecutor(graph).masks(features)


def test_the_function_of_every_kind_of_network_stays(
    make_network: MakeNetwork, kind_config: UNetConfig, random_features: Array
) -> None:
    graph = lower(make_network(kind_config))
    found = equalise(graph, channel_reach(graph, random_features))
    assert found.channels > 0
    np.testing.assert_allclose(
        _masks(found.graph, random_features), _masks(graph, random_features), atol=1e-5
    )


def test_the_function_of_every_operator_stays() -> None:
    graph = every_operator()
    features = np.random.default_rng(3).normal(size=(3, 5, 8, 4)).astype(np.float32)
    found = equalise(graph, channel_reach(graph, features))
    np.testing.assert_allclose(
        _masks(found.graph, features), _masks(graph, features), atol=1e-5, rtol=1e-5
    )


def test_tensors_are_what_they_were_times_their_factors(
    graph: StepGraph, random_features: Array
) -> None:
    found = equalise(graph, channel_reach(graph, random_features))
    before = list(StepExecutor(graph).sequence(random_features))[-1]
    after = list(StepExecutor(found.graph).sequence(random_features))[-1]
    for name, factors in found.factors.items():
        np.testing.assert_allclose(after[name] * factors, before[name], rtol=1e-3, atol=1e-4)
    for state in graph.states:
        np.testing.assert_array_equal(
            found.factors[state.input.name], found.factors[state.output.name]
        )
    for fixed in ("features", "mask", "gru_out", "gru/new", "gru/update"):
        assert np.all(found.factors[fixed] == 1.0)


def test_what_is_out_of_balance_is_mended(
    graph: StepGraph, contract: StftContract, signals: list[Array]
) -> None:
    """Channels a thousand times apart: the same function in float, another one in int8."""
    skewed = _skewed(graph, "encoder1_out", 1000.0)
    stacked = stack_features(contract, signals)
    wanted = _masks(graph, stacked)
    np.testing.assert_allclose(_masks(skewed, stacked), wanted, atol=1e-4)
    mended = equalise(skewed, channel_reach(skewed, stacked)).graph

    def error(one: StepGraph) -> float:
        quantized = quantize_graph(one, calibrate(one, contract, signals))
        return float(np.mean(np.square(simulator(quantized).masks(stacked) - wanted)))

    assert error(mended) < 0.25 * error(skewed)


def _skewed(graph: StepGraph, name: str, ratio: float) -> StepGraph:
    """Output channels of one layer, from 1 to ``ratio`` times as large, undone by its readers."""
    found = equalise(graph, channel_reach(graph, np.ones((1, 1, 64, 3), np.float32)))
    source = next(op for op in graph.weighted if op.output.name == name)
    gains = np.geomspace(1.0, ratio, len(source.weight)).astype(np.float32)
    # The skip and its decoder share channels with the encoder: all of them take the same gains.
    together = {
        key: gains if len(values) == len(gains) else np.tile(gains, len(values) // len(gains))
        for key, values in found.factors.items()
        if key in _sharing(graph, name)
    }
    operators = []
    for operator in graph.operators:
        if isinstance(operator, Conv2d | TransposeConv2d):
            out = together.get(operator.output.name, np.ones(len(operator.weight), np.float32))
            size = operator.weight.shape[3]
            entry = together.get(operator.input.name, np.ones(size, np.float32))
            operator = replace(
                operator,
                weight=operator.weight * out[:, None, None, None] / entry,
                bias=operator.bias * out,
            )
        operators.append(operator)
    return replace(graph, operators=tuple(operators))


def _sharing(graph: StepGraph, name: str) -> set[str]:
    """Tensors between which values are only moved or added, starting from one."""
    shared = {name}
    while True:
        more = set(shared)
        for operator in graph.operators:
            if isinstance(operator, Conv2d | TransposeConv2d):
                continue
            around = {operator.output.name}
            around |= {one.name for one in getattr(operator, "inputs", ())}
            for part in ("input", "left", "right"):
                if hasattr(operator, part):
                    around.add(getattr(operator, part).name)
            if around & more:
                more |= around
        if more == shared:
            return shared
        shared = more


def test_nothing_moves_where_nothing_may(random_features: Array) -> None:
    """A graph that goes straight from features to the mask has no channel of its own."""
    rng = np.random.default_rng(0)
    entry, mask = Tensor("features", (1, 1, 8, 3)), Tensor("mask", (1, 1, 8, 2))
    conv = Conv2d(mask, entry, rng.normal(size=(2, 1, 1, 3)).astype("f4"), np.zeros(2, "f4"))
    graph = StepGraph(entry, mask, (), (conv,))
    found = equalise(graph, channel_reach(graph, random_features[:, :, :8]))
    assert found.channels == 0
    np.testing.assert_array_equal(found.graph.weighted[0].weight, conv.weight)


def test_a_state_of_features_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    entry, past = Tensor("features", (1, 1, 4, 2)), Tensor("past", (1, 1, 4, 2))
    mask = Tensor("mask", (1, 1, 4, 2))
    conv = Conv2d(mask, past, rng.normal(size=(2, 1, 1, 2)).astype("f4"), np.zeros(2, "f4"))
    graph = StepGraph(entry, mask, (State("past", past, entry),), (conv,))
    features = rng.normal(size=(2, 4, 4, 2)).astype(np.float32)
    found = equalise(graph, channel_reach(graph, features))
    np.testing.assert_array_equal(_masks(found.graph, features), _masks(graph, features))
