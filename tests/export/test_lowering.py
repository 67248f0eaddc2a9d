from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.bands import Bands
from distill.unet import UNet, UNetConfig
from export.executor import StepExecutor
from export.lowering import lower
from export.step_graph import Concat, Conv2d, Slice, StepGraph
from targets.errors import InputError

Array = npt.NDArray[np.float32]

BOTTLENECKS: list[dict[str, Any]] = [
    {"bottleneck": "gru"},
    {"bottleneck": "tcn"},
    {"bottleneck": "dual", "blocks": 1},
    {"bottleneck": "dual", "full_band": 5},
]


def torch_masks(network: UNet, features: Array) -> Array:
    with torch.no_grad():
        mask = network(torch.from_numpy(features).permute(0, 3, 1, 2)).mask
    result: Array = mask.permute(0, 2, 3, 1).numpy()
    return result


def test_the_graph_computes_what_the_network_computes(
    network: UNet, random_features: Array
) -> None:
    masks = StepExecutor(lower(network)).masks(random_features)
    np.testing.assert_allclose(masks, torch_masks(network, random_features), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    levels=st.integers(1, 3),
    patch=st.sampled_from([1, 2, 4]),
    kernel_time=st.integers(1, 4),
    kernel_frequency=st.sampled_from([1, 3, 5]),
    kind=st.fixed_dictionaries(
        {
            "mask": st.sampled_from(["complex", "real"]),
            "bands": st.sampled_from([None, Bands(count=16), Bands(kind="mel", count=32)]),
        }
    ),
    bottleneck=st.sampled_from(BOTTLENECKS),
    seed=st.integers(0, 99),
)
def test_any_architecture_is_lowered_exactly(
    make_network: Callable[..., UNet],
    levels: int,
    patch: int,
    kernel_time: int,
    kernel_frequency: int,
    kind: dict[str, Any],
    bottleneck: dict[str, Any],
    seed: int,
) -> None:
    config = UNetConfig(
        bins=32,
        widths=(3, 4, 5)[:levels],
        hidden=6,
        patch=patch,
        kernel_time=kernel_time,
        kernel_frequency=kernel_frequency,
        **kind,
        **bottleneck,
    )
    network = make_network(config, seed)
    features = np.random.default_rng(seed).normal(size=(2, 5, 32, 3)).astype(np.float32)
    masks = StepExecutor(lower(network)).masks(features)
    np.testing.assert_allclose(masks, torch_masks(network, features), atol=1e-5)


def test_states_have_the_canonical_names_order_and_shapes(graph: StepGraph) -> None:
    assert [state.name for state in graph.states] == ["encoder1", "encoder2", "gru"]
    assert [tensor.name for tensor in graph.inputs] == [
        "features",
        "encoder1_in",
        "encoder2_in",
        "gru_in",
    ]
    assert [tensor.name for tensor in graph.outputs] == [
        "mask",
        "encoder1_out",
        "encoder2_out",
        "gru_out",
    ]
    assert graph.features.shape == (1, 1, 64, 3)
    assert graph.mask.shape == (1, 1, 64, 2)
    for state in graph.states:
        assert state.input.shape == state.output.shape
    assert graph.states[-1].input.shape == (1, 1, 1, 12)


def test_no_output_is_an_input_and_names_are_unique(graph: StepGraph) -> None:
    names = [tensor.name for tensor in graph.inputs]
    names += [operator.output.name for operator in graph.operators]
    assert len(names) == len(set(names))
    assert not {t.name for t in graph.inputs} & {t.name for t in graph.outputs}


def test_convolutions_over_time_collapse_it(graph: StepGraph) -> None:
    concats = [operator for operator in graph.operators if isinstance(operator, Concat)]
    assert [operator.output.shape[1] for operator in concats] == [2, 2]
    assert all(op.output.shape[1] == 1 for op in graph.operators if isinstance(op, Conv2d))


def test_counts_parameters_after_folding_and_macs(graph: StepGraph, network: UNet) -> None:
    norms = sum(
        sum(p.numel() for p in module.parameters())
        for module in network.modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    )
    assert 0 < graph.parameters < sum(p.numel() for p in network.parameters()) + norms
    assert graph.macs > graph.parameters


def test_a_history_of_several_frames_drops_its_oldest(make_network: Callable[..., UNet]) -> None:
    config = UNetConfig(bins=16, widths=(2, 2), hidden=2, kernel_time=4)
    graph = lower(make_network(config))
    (tail,) = (operator for operator in graph.operators if isinstance(operator, Slice))
    assert tail.input.shape == (1, 4, 4, 2)
    assert tail.output == graph.states[0].output
    assert graph.states[0].input.shape == (1, 3, 4, 2)


@pytest.mark.parametrize("kind", [{"look_ahead": 2}, {"bottleneck": "bigru"}])
def test_refuses_what_needs_the_future_and_names_the_layer(
    make_network: Callable[..., UNet], kind: dict[str, Any]
) -> None:
    config = UNetConfig.model_validate({"bins": 16, "widths": (2, 2), "hidden": 2, **kind})
    with pytest.raises(InputError, match="layer bottleneck") as caught:
        lower(make_network(config))
    assert "student" in caught.value.hint


def test_refuses_weights_that_are_not_finite(network: UNet) -> None:
    with torch.no_grad():
        network.bottleneck.expand.bias[0] = torch.nan
    with pytest.raises(InputError, match=r"bottleneck\.expand\.bias"):
        lower(network)


def test_streams_of_one_batch_do_not_touch_each_other(
    graph: StepGraph, random_features: Array
) -> None:
    together = StepExecutor(graph).masks(random_features)
    alone = StepExecutor(graph).masks(random_features[2:3])
    np.testing.assert_allclose(together[2:3], alone, atol=1e-6)


def test_masks_resume_from_a_state(graph: StepGraph, random_features: Array) -> None:
    executor = StepExecutor(graph)
    *_, last = executor.sequence(random_features[:, :20])
    states = [last[state.output.name] for state in graph.states]
    rest = executor.masks(random_features[:, 20:], states)
    np.testing.assert_allclose(rest, executor.masks(random_features)[:, 20:], atol=1e-6)


def test_same_padding_pads_more_after_than_before() -> None:
    graph = lower(UNet(UNetConfig(bins=8, widths=(1,), hidden=1, patch=1)).eval())
    conv = next(op for op in graph.operators if isinstance(op, Conv2d))
    weight = np.zeros_like(conv.weight)
    weight[0, 0, 0, 0] = 1.0  # the kernel's first tap: with nothing padded before it, no shift
    first = replace(conv, weight=weight, bias=np.zeros_like(conv.bias))
    shown = replace(graph, operators=(first,), mask=first.output, states=())
    features = np.arange(24, dtype=np.float32).reshape(1, 1, 8, 3)
    result = StepExecutor(shown).run([features])[0]
    np.testing.assert_array_equal(result[0, 0, :, 0], features[0, 0, :, 0])


def test_memories_of_dual_paths_stay_within_one(make_network: Callable[..., UNet]) -> None:
    """So they get the scale of a hidden state, whatever was heard while calibrating."""
    config = UNetConfig(
        bins=32, widths=(3, 4), hidden=6, kernel_time=1, bottleneck="dual", full_band=5
    )
    graph = lower(make_network(config, 0))
    assert [state.name for state in graph.states] == ["dual0", "dual1", "full"]
    assert [state.input.shape for state in graph.states] == [(1, 1, 4, 6)] * 2 + [(1, 1, 1, 5)]
    assert {tensor.name for tensor in (*graph.inputs[1:], *graph.outputs[1:])} <= graph.bounded
    for values in StepExecutor(graph).sequence(np.full((1, 20, 32, 3), 1e6, np.float32)):
        for state in graph.states:
            assert float(np.abs(values[state.output.name]).max()) <= 1.0
