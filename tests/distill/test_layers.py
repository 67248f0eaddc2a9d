"""Streaming layers and the U-Net family: sequence equals step, and nothing looks ahead."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.layers import CausalConv, GruBottleneck, SubPixelConv, same_padding
from distill.unet import PRESETS, UNet, UNetConfig, preset
from targets.errors import InputError


def randomised(network: UNet) -> UNet:
    """Weights and batch-norm statistics as after training, not as initialised."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0.0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0.0, 0.2, generator=generator)
    return network.eval()


def random_states(network: UNet, batch: int) -> dict[str, torch.Tensor]:
    return {name: torch.randn_like(value) for name, value in network.initial_states(batch).items()}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_sequence_equals_step_over_a_thousand_frames_from_a_random_state(name: str) -> None:
    torch.manual_seed(1)
    network = randomised(UNet(preset(name)))
    features = torch.randn(1, 3, 1000, 256)
    states = random_states(network, 1)
    with torch.no_grad():
        whole = network(features, states)
        for frame in range(1000):
            out = network.step(features[:, :, frame : frame + 1], states)
            states = out.states
            assert (out.mask - whole.mask[:, :, frame : frame + 1]).abs().max() < 1e-5
            assert (out.latent - whole.latent[:, frame : frame + 1]).abs().max() < 1e-5
    for key, value in whole.states.items():
        assert (states[key] - value).abs().max() < 1e-5


@settings(max_examples=15, deadline=None)
@given(
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    patch=st.sampled_from([2, 4]),
    kernel_time=st.integers(1, 3),
    kernel_frequency=st.sampled_from([1, 3, 5]),
    hidden=st.integers(1, 9),
    cut=st.integers(1, 11),
)
def test_a_sequence_may_be_cut_anywhere(
    widths: list[int], patch: int, kernel_time: int, kernel_frequency: int, hidden: int, cut: int
) -> None:
    config = UNetConfig(
        bins=64,
        widths=tuple(widths),
        hidden=hidden,
        patch=patch,
        kernel_time=kernel_time,
        kernel_frequency=kernel_frequency,
    )
    network = randomised(UNet(config))
    features, states = torch.randn(2, 3, 12, 64), random_states(network, 2)
    with torch.no_grad():
        whole = network(features, states)
        first = network(features[:, :, :cut], states)
        second = network(features[:, :, cut:], first.states)
    joined = torch.cat([first.mask, second.mask], dim=2)
    assert whole.mask.shape == (2, 2, 12, 64)
    assert (joined - whole.mask).abs().max() < 1e-5


def test_no_output_depends_on_a_later_input() -> None:
    network = randomised(UNet(preset("tiny")))
    features = torch.randn(1, 3, 40, 256)
    with torch.no_grad():
        before = network(features).mask
        features[:, :, 25:] += 1.0
        after = network(features).mask
        features[:, :, 25:] = float("nan")
        probed = network(features).mask
    assert torch.equal(before[:, :, :25], after[:, :, :25])
    assert not torch.equal(before[:, :, 25:], after[:, :, 25:])
    assert not probed[:, :, :25].isnan().any()


def test_the_mask_is_bounded() -> None:
    mask = randomised(UNet(preset("tiny")))(100.0 * torch.randn(1, 3, 20, 256)).mask
    assert mask.abs().max() <= 1.0


@given(kernel=st.integers(1, 9), stride=st.integers(1, 4), steps=st.integers(1, 20))
def test_same_padding_yields_one_output_per_stride(kernel: int, stride: int, steps: int) -> None:
    before, after = same_padding(kernel, stride)
    padded = steps * stride + before + after
    if kernel >= stride:
        assert (padded - kernel) // stride + 1 == steps
    assert 0 <= after - before <= 1


def test_sub_pixel_unfolds_channels_last() -> None:
    layer = SubPixelConv(1, 2, 1, 2, last=True)
    assert layer.conv.bias is not None
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1, 1))
        layer.conv.bias.zero_()
        out = layer(torch.tensor([[[[1.0, 10.0]]]]))
    assert out[0, 0, 0].tolist() == [1.0, 3.0, 10.0, 30.0]
    assert out[0, 1, 0].tolist() == [2.0, 4.0, 20.0, 40.0]


def test_memoryless_layers_have_no_state() -> None:
    assert CausalConv(3, 4, (1, 8), 4, 64).initial_state(2) is None
    assert GruBottleneck(2, 4, 5).initial_state(3).shape == (3, 5)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible"):
        UNetConfig(bins=250)
    with pytest.raises(InputError) as caught:
        preset("huge")
    assert "teacher" in caught.value.hint


def test_an_untrained_network_passes_most_of_its_input() -> None:
    mask = UNet(preset("tiny")).eval()(torch.zeros(1, 3, 5, 256)).mask
    assert 0.5 < mask[:, 0].mean() < 0.9
    assert mask[:, 1].abs().mean() < 0.3


@pytest.mark.parametrize("whole", [True, False])
def test_the_latents_pass_a_module_of_their_own(whole: bool) -> None:
    network = UNet(preset("tiny")).eval()
    seen: list[torch.Tensor] = []
    latent = dict(network.named_modules())["bottleneck.latent"]
    latent.register_forward_hook(lambda module, entry, output: seen.append(output))
    features = torch.randn(2, 3, 1, 256)
    states = network.initial_states(2)
    out = network(features, states) if whole else network.step(features, states)
    assert len(seen) == 1
    assert torch.equal(seen[0], out.latent)
    assert out.latent.shape == (2, 1, 32)
