"""The U-Net family: sequence equals step for every configuration, and nothing looks ahead."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.bands import Bands
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


STREAMING: list[dict[str, Any]] = [
    {"bottleneck": "gru"},
    {"bottleneck": "tcn"},
    {"bottleneck": "dual"},
    {"bottleneck": "dual", "blocks": 1, "full_band": 8},
]
BOTTLENECKS = st.fixed_dictionaries(
    {"bottleneck": st.sampled_from(["gru", "tcn"])}
) | st.fixed_dictionaries(
    {
        "bottleneck": st.just("dual"),
        "blocks": st.integers(1, 3),
        "full_band": st.sampled_from([0, 5]),
    }
)


@st.composite
def configs(draw: st.DrawFn, /, **fixed: Any) -> UNetConfig:
    """Small networks of every kind that streams."""
    values: dict[str, Any] = {
        "bins": 64,
        "widths": tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))),
        "hidden": draw(st.integers(1, 6)),
        "patch": draw(st.sampled_from([1, 2, 4])),
        "kernel_time": draw(st.integers(1, 3)),
        "kernel_frequency": draw(st.sampled_from([1, 3, 5])),
        "mask": draw(st.sampled_from(["complex", "real"])),
        "look_ahead": draw(st.integers(0, 3)),
        "bands": draw(st.sampled_from([None, Bands(count=32), Bands(kind="mel", count=48)])),
    }
    return UNetConfig(**(values | draw(BOTTLENECKS) | fixed))


@settings(max_examples=25, deadline=None)
@given(config=configs())
def test_sequence_equals_step_for_every_configuration(config: UNetConfig) -> None:
    network = randomised(UNet(config))
    features, ahead = torch.randn(2, 3, 9, 64), config.look_ahead
    states = random_states(network, 2)
    with torch.no_grad():
        whole = network(features, states)
        steps = []
        for frame in features.split(1, dim=2):
            steps.append(network.step(frame, states))
            states = steps[-1].states
    assert whole.mask.shape == (2, 2 if config.mask == "complex" else 1, 9, 64)
    assert whole.latent.shape == (2, 9, network.bottleneck.width)
    # A step answers for the frame `look_ahead` before it; the last ones are never asked for.
    mask = torch.cat([step.mask for step in steps[ahead:]], dim=2)
    latent = torch.cat([step.latent for step in steps[ahead:]], dim=1)
    torch.testing.assert_close(mask, whole.mask[:, :, : 9 - ahead], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(latent, whole.latent[:, : 9 - ahead], atol=1e-5, rtol=1e-5)
    assert set(states) == set(whole.states) == set(network.initial_states())
    for name, value in whole.states.items():
        if not ahead:
            torch.testing.assert_close(states[name], value, atol=1e-5, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(config=configs(look_ahead=0), cut=st.integers(1, 11))
def test_a_sequence_may_be_cut_anywhere(config: UNetConfig, cut: int) -> None:
    network = randomised(UNet(config))
    features, states = torch.randn(2, 3, 12, 64), random_states(network, 2)
    with torch.no_grad():
        whole = network(features, states)
        first = network(features[:, :, :cut], states)
        second = network(features[:, :, cut:], first.states)
    joined = torch.cat([first.mask, second.mask], dim=2)
    assert (joined - whole.mask).abs().max() < 1e-5


@pytest.mark.parametrize("ahead", [0, 1, 4])
@pytest.mark.parametrize("kind", STREAMING)
def test_an_output_knows_exactly_so_many_frames_of_its_future(
    kind: dict[str, Any], ahead: int
) -> None:
    config = UNetConfig(bins=32, widths=(4, 6), hidden=8, look_ahead=ahead, **kind)
    network = randomised(UNet(config))
    features = torch.randn(1, 3, 30, 32)
    with torch.no_grad():
        before = network(features)
        features[:, :, 20] += 1.0
        after = network(features)
    first = 20 - ahead
    for one, other in ((before.mask[0, 0], after.mask[0, 0]), (before.latent[0], after.latent[0])):
        assert torch.equal(one[:first], other[:first])
        assert not torch.equal(one[first], other[first])


def test_with_look_ahead_the_skips_still_belong_to_their_frame() -> None:
    """The future reaches a mask through the bottleneck alone."""
    network = randomised(UNet(UNetConfig(bins=32, widths=(4, 6), hidden=8, look_ahead=3)))
    with torch.no_grad():
        network.bottleneck.expand.weight.zero_()
        features = torch.randn(1, 3, 12, 32)
        before = network(features).mask
        features[:, :, 6:] += 1.0
        after = network(features).mask
    assert torch.equal(before[:, :, :6], after[:, :, :6])
    assert not torch.equal(before[:, :, 6], after[:, :, 6])


def test_a_bidirectional_network_hears_everything_and_cannot_stream() -> None:
    network = randomised(UNet(UNetConfig(bins=32, widths=(4,), hidden=5, bottleneck="bigru")))
    features = torch.randn(2, 3, 12, 32)
    with torch.no_grad():
        before = network(features)
        features[:, :, -1] += 1.0
        after = network(features)
    assert before.latent.shape == (2, 12, 10)
    assert network.bottleneck.width == 10
    assert not torch.equal(before.mask[:, :, 0], after.mask[:, :, 0])
    with pytest.raises(InputError, match="cannot stream"):
        network.step(features[:, :, :1], network.initial_states(2))


@pytest.mark.parametrize(("name", "limit"), [("tiny", 0.1), ("small", 0.1), ("teacher", 0.25)])
def test_a_temporal_convolution_is_about_as_large_as_a_gru(name: str, limit: float) -> None:
    def size(bottleneck: str) -> int:
        network = UNet(preset(name).model_copy(update={"bottleneck": bottleneck}))
        return sum(value.numel() for value in network.bottleneck.parameters())

    assert abs(size("tcn") / size("gru") - 1.0) < limit


@pytest.mark.parametrize(
    ("config", "digest"),
    [
        (PRESETS["tiny"], "f506122d40b51566"),
        (PRESETS["small"], "53196c9cb14fd11e"),
        (PRESETS["teacher"], "79070dbd131a530e"),
        (
            UNetConfig(bins=64, widths=(6, 8, 10), hidden=12, kernel_time=3, patch=2).model_copy(
                update={"kernel_frequency": 5}
            ),
            "24a29a5d57f160b5",
        ),
    ],
)
def test_a_seed_keeps_giving_the_same_initial_weights(config: UNetConfig, digest: str) -> None:
    torch.manual_seed(7)
    found = hashlib.sha256()
    for name, value in sorted(UNet(config).state_dict().items()):
        found.update(name.encode())
        found.update(value.numpy().tobytes())
    assert found.hexdigest()[:16] == digest


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


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"bins": 250}, "bins must be divisible"),
        ({"widths": ()}, "at least one"),
        ({"kernel_frequency": 4}, "odd"),
        ({"kernel_time": 0}, "kernel_time"),
        ({"bottleneck": "bigru", "look_ahead": 1}, "no look_ahead"),
        ({"full_band": 8}, "bottleneck dual only"),
        ({"bottleneck": "tcn", "blocks": 3}, "bottleneck dual only"),
        ({"bands": {"count": 60}}, "count of bands must be divisible"),
        ({"bands": {"count": 288}}, "cannot have a bin each"),
    ],
)
def test_bad_sizes_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        UNetConfig(**values)


def test_an_unknown_preset_names_those_known() -> None:
    with pytest.raises(InputError) as caught:
        preset("huge")
    assert "teacher" in caught.value.hint


@pytest.mark.parametrize("mask", ["complex", "real"])
@pytest.mark.parametrize("bands", [None, Bands(count=64)])
def test_an_untrained_network_passes_most_of_its_input(mask: str, bands: Bands | None) -> None:
    config = preset("tiny").model_copy(update={"mask": mask, "bands": bands})
    torch.manual_seed(0)
    found = UNet(config).eval()(torch.zeros(1, 3, 5, 256)).mask
    assert 0.6 < found[:, 0].mean() < 0.9
    assert found[:, 1:].abs().sum() == 0.0 or found[:, 1:].abs().mean() < 0.3


def test_a_real_mask_lies_between_zero_and_one() -> None:
    network = randomised(UNet(preset("tiny").model_copy(update={"mask": "real"})))
    mask = network(100.0 * torch.randn(1, 3, 20, 256)).mask
    assert mask.shape == (1, 1, 20, 256)
    assert mask.min() >= 0.0
    assert mask.max() <= 1.0


@pytest.mark.parametrize("kind", STREAMING)
@pytest.mark.parametrize("whole", [True, False])
def test_the_latents_pass_a_module_of_their_own(whole: bool, kind: dict[str, Any]) -> None:
    config = preset("tiny").model_copy(update={**kind, "look_ahead": 2})
    network = UNet(config).eval()
    seen: list[torch.Tensor] = []
    latent = dict(network.named_modules())["bottleneck.latent"]
    latent.register_forward_hook(lambda module, entry, output: seen.append(output))
    features = torch.randn(2, 3, 1, 256)
    states = network.initial_states(2)
    out = network(features, states) if whole else network.step(features, states)
    assert len(seen) == 1
    assert torch.equal(seen[0], out.latent)
    assert out.latent.shape == (2, 1, network.bottleneck.width)
