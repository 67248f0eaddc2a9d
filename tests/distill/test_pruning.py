"""Pruning: what is dead may go, what is kept stays what it was, and importance finds the dead."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from distill import stft
from distill.importance import denoising, refresh_statistics, taylor_importance
from distill.layers import CausalConv, same_padding
from distill.losses import LossWeights
from distill.pruning import (
    FULL_BAND,
    LATENTS,
    Group,
    Member,
    block_latents,
    groups,
    level_name,
    prune,
    smaller,
    strongest,
)
from distill.unet import UNet, UNetConfig
from runtime.stft import StftContract
from targets.errors import InputError

CONTRACT = StftContract(bins=32)
KINDS: list[dict[str, object]] = [
    {},
    {"bottleneck": "tcn"},
    {"bottleneck": "dual"},
    {"bottleneck": "dual", "blocks": 1, "full_band": 6},
    {"mask": "real", "kernel_time": 1},
    {"widths": (8,), "patch": 2},
    {"bands": {"count": 16, "bin_hz": 31.25}},
    {"look_ahead": 1},
]


def config_of(change: dict[str, object]) -> UNetConfig:
    return UNetConfig.model_validate({"bins": 32, "widths": (5, 6, 8), "hidden": 7} | change)


def randomised(config: UNetConfig, seed: int = 0) -> UNet:
    """Weights and statistics as after training, not as initialised."""
    generator = torch.Generator().manual_seed(seed)
    network = UNet(config)
    for name, value in network.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2.0, generator=generator)
        elif value.is_floating_point():
            value.normal_(0.0, 0.3, generator=generator)
    return network.eval()


def kill(network: UNet, group: Group, channels: list[int]) -> None:
    """Zero the gains of some channels, so that nothing of them is heard."""
    weights = network.state_dict()
    for gain in group.gains:
        for block in range(gain.blocks):
            for channel in channels:
                row = block * group.channels + channel
                weights[gain.tensor].select(gain.axis, row).zero_()


def everything(config: UNetConfig) -> dict[str, list[int]]:
    return {group.name: list(range(group.channels)) for group in groups(config)}


def mask_of(network: UNet, features: Tensor) -> Tensor:
    with torch.no_grad():
        mask: Tensor = network(features).mask
    return mask


@pytest.mark.parametrize("change", KINDS)
def test_keeping_everything_is_the_identity(change: dict[str, object]) -> None:
    network = randomised(config_of(change))
    pruned = prune(network, everything(network.config))
    assert pruned.config == network.config
    for name, value in network.state_dict().items():
        assert torch.equal(pruned.state_dict()[name], value)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_dead_channels_may_go(data: st.DataObject, kind: dict[str, object], seed: int) -> None:
    config = config_of(kind)
    network = randomised(config, seed)
    kept = everything(config)
    units = data.draw(st.integers(0, config.hidden - 1))
    for group in groups(config):
        alike = group.name.startswith(LATENTS)  # blocks keep equally many
        count = units if alike else data.draw(st.integers(0, group.channels - 1))
        dead = data.draw(st.permutations(range(group.channels)))[:count]
        kill(network, group, dead)
        kept[group.name] = [c for c in range(group.channels) if c not in dead]
    pruned = prune(network, kept)
    features = torch.randn(2, 3, 6, 32, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        mask_of(pruned, features), mask_of(network, features), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("group", ["level 0", "level 1", "level 2", LATENTS])
def test_living_channels_are_missed(group: str) -> None:
    network = randomised(config_of({}))
    kept = everything(network.config)
    del kept[group][1]
    features = torch.randn(1, 3, 6, 32)
    difference = mask_of(prune(network, kept), features) - mask_of(network, features)
    assert float(difference.abs().max()) > 1e-3


@pytest.mark.parametrize("change", KINDS[:-1])
def test_a_pruned_network_is_one_of_its_size_and_streams(change: dict[str, object]) -> None:
    network = randomised(config_of(change))
    kept = {name: channels[::2] for name, channels in everything(network.config).items()}
    pruned = prune(network, kept)
    fresh = UNet(pruned.config)
    shapes = {name: value.shape for name, value in fresh.state_dict().items()}
    assert {name: value.shape for name, value in pruned.state_dict().items()} == shapes
    features = torch.randn(1, 3, 9, 32)
    states = pruned.initial_states()
    frames = []
    with torch.no_grad():
        for frame in features.split(1, dim=2):
            output = pruned.step(frame, states)
            states = output.states
            frames.append(output.mask)
    torch.testing.assert_close(torch.cat(frames, dim=2), mask_of(pruned, features))


@settings(max_examples=40, deadline=None)
@given(
    widths=st.lists(st.integers(1, 70), min_size=1, max_size=4).map(tuple),
    hidden=st.integers(1, 200),
    keep=st.floats(0.01, 1.0),
)
def test_sizes_are_multiples_of_four_and_never_larger(
    widths: tuple[int, ...], hidden: int, keep: float
) -> None:
    config = UNetConfig(widths=widths, hidden=hidden)
    after = smaller(config, keep)
    pairs = zip((*after.widths, after.hidden), (*widths, hidden), strict=True)
    for new, old in pairs:
        assert 1 <= new <= old
        assert new == old or new % 4 == 0
    assert smaller(config, 1.0) == config


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5])
def test_impossible_shares_are_refused(keep: float) -> None:
    with pytest.raises(InputError, match="share"):
        smaller(UNetConfig(), keep)


def test_a_network_that_does_not_stream_is_not_pruned() -> None:
    with pytest.raises(InputError, match="bigru"):
        groups(config_of({"bottleneck": "bigru"}))


def pairs(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    made = []
    for _ in range(count):
        clean = torch.randn(2, 4000, generator=generator).cumsum(-1) * 0.01
        made.append((clean + 0.1 * torch.randn(2, 4000, generator=generator), clean))
    return made


@pytest.mark.parametrize("change", [{}, {"bottleneck": "tcn"}, KINDS[2], KINDS[3]])
def test_importance_is_the_squared_derivative_by_a_gate(change: dict[str, object]) -> None:
    network = randomised(config_of(change))
    loss = denoising(CONTRACT, LossWeights())
    (pair,) = pairs(1)
    found = taylor_importance(network, loss, [pair])
    for group in groups(network.config):
        numeric = _derivative(network, group, 1, pair)
        assert float(found[group.name][1].sqrt()) == pytest.approx(abs(numeric), rel=0.1, abs=1e-4)


def _derivative(network: UNet, group: Group, channel: int, pair: tuple[Tensor, Tensor]) -> float:
    """Central difference of the loss by a factor on a channel's gains."""
    loss = denoising(CONTRACT, LossWeights())
    values = []
    step = 2e-3
    for factor in (1.0 + step, 1.0 - step):
        changed = UNet(network.config).eval()
        changed.load_state_dict(network.state_dict())
        weights = changed.state_dict()
        for gain in group.gains:
            for block in range(gain.blocks):
                weights[gain.tensor].select(gain.axis, block * group.channels + channel).mul_(
                    factor
                )
        with torch.no_grad():
            values.append(float(loss(changed, pair)))
    return (values[0] - values[1]) / (2.0 * step)


def test_importance_finds_the_dead_and_leaves_no_trace() -> None:
    network = randomised(config_of({}))
    network.requires_grad_(False)
    dead = {"level 0": [1, 3], "level 1": [0], "level 2": [2, 5], LATENTS: [6]}
    for group in groups(network.config):
        kill(network, group, dead[group.name])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = taylor_importance(network, denoising(CONTRACT, LossWeights()), pairs())
    sizes = network.config.model_copy(update={"widths": (3, 5, 6), "hidden": 6})
    kept = strongest(found, sizes)
    for name, channels in dead.items():
        assert not set(channels) & set(kept[name])
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_statistics_anew_are_the_average_over_the_batches() -> None:
    network = randomised(config_of({}))
    batches = pairs()
    refresh_statistics(network, CONTRACT, batches)
    layer = cast(CausalConv, network.encoder[0])
    norm = layer.norm
    assert norm.running_mean is not None
    means = []
    for noisy, _ in batches:
        features = stft.features(CONTRACT, stft.analyse(CONTRACT, noisy))
        padded = functional.pad(features, same_padding(8, 4))
        means.append(layer.conv(padded).mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(dim=0).detach())
    assert norm.momentum == 0.1
    assert not network.training


def test_every_tensor_with_channels_belongs_to_a_group() -> None:
    for change in KINDS:
        config = config_of(change)
        members = {member.tensor for group in groups(config) for member in group.members}
        names = {name for name, value in UNet(config).state_dict().items() if value.dim()}
        last = f"decoder.{len(config.widths) - 1}"  # its outputs are the mask
        bins_only = {name for name in names if name.endswith("mix.weight")}
        assert names - members <= {f"{last}.conv.bias", *bins_only}


def test_groups_are_named_by_level() -> None:
    config = config_of({})
    named = [group.name for group in groups(config)]
    assert named == [*map(level_name, range(3)), LATENTS]
    assert Member("encoder.0.conv.weight", 0) in groups(config)[0].members
    dual = config_of({"bottleneck": "dual", "full_band": 6})
    units = [*map(block_latents, range(2)), FULL_BAND]
    assert [group.name for group in groups(dual)][3:] == units


@pytest.mark.parametrize("group", [block_latents(0), block_latents(1), FULL_BAND, "level 2"])
def test_living_units_of_dual_paths_are_missed(group: str) -> None:
    network = randomised(config_of({"bottleneck": "dual", "full_band": 6}))
    kept = everything(network.config)
    for name in kept:
        if name == group or {name, group} <= {block_latents(0), block_latents(1)}:
            kept[name] = kept[name][:-1]  # all blocks have one size
    features = torch.randn(1, 3, 6, 32)
    difference = mask_of(prune(network, kept), features) - mask_of(network, features)
    assert float(difference.abs().max()) > 1e-3
