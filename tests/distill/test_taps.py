"""Activations by module path: their layouts, their shapes, and paths that do not exist."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from distill import taps
from distill.unet import UNet, UNetConfig
from distill.views import TapShape
from runtime.stft import StftContract
from targets.errors import InputError

CONFIG = UNetConfig(widths=(4, 5, 6), hidden=7)


class Toy(nn.Module):
    """A part returns a tuple, the whole a dict; one part never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 5, batch_first=True)
        self.unused = nn.Identity()

    def forward(self, value: Tensor) -> dict[str, Tensor]:
        return {"out": self.gru(value)[0]}


def test_a_unet_is_tapped_in_the_canonical_layout() -> None:
    network = UNet(CONFIG)
    features = torch.randn(2, 3, 9, 256)
    with taps.capture(network, ["encoder.1", "bottleneck.gru", "bottleneck.latent"]) as found:
        output = network(features)
    assert found["encoder.1"].shape == (2, 9, 32, 5)
    assert found["bottleneck.gru"].shape == (2, 9, 1, 7)
    assert torch.equal(found["bottleneck.latent"][:, :, 0], output.latent)
    network(features[:1])
    assert found["encoder.1"].shape[0] == 2, "the hooks are gone"


def test_a_block_of_dual_paths_is_tapped_as_frames() -> None:
    network = UNet(CONFIG.model_copy(update={"bottleneck": "dual"}))
    with taps.capture(network, ["bottleneck.blocks.0", "bottleneck.latent"]) as found:
        output = network(torch.randn(2, 3, 9, 256))
    assert found["bottleneck.blocks.0"].shape == (2, 9, 16, 6)
    assert torch.equal(found["bottleneck.latent"][:, :, 0], output.latent)


def test_gradients_flow_through_a_tap() -> None:
    network = UNet(CONFIG)
    with taps.capture(network, ["encoder.0"]) as found:
        network(torch.randn(1, 3, 4, 256))
    found["encoder.0"].sum().backward()
    weight = network.get_parameter("encoder.0.conv.weight")
    assert weight.grad is not None


def test_values_move_with_their_axes() -> None:
    value = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5)
    assert torch.equal(taps.canonical(value, "x"), value.permute(0, 2, 3, 1))
    assert torch.equal(taps.canonical(value, "x:btfc"), value)
    assert torch.equal(taps.canonical(value, "x:cbft"), value.permute(1, 3, 2, 0))
    assert torch.equal(taps.canonical(value[0], "x"), value[0][:, :, None])
    assert torch.equal(taps.canonical(value[0], "x:bct"), value[0].permute(0, 2, 1)[:, :, None])
    assert torch.equal(taps.canonical(value[0], "x:btf"), value[0][..., None])


def test_a_layout_is_told_from_a_tensor_name() -> None:
    assert taps.parse_tap("encoder.0:bct") == ("encoder.0", "bct")
    assert taps.parse_tap("output:0") == ("output:0", "")
    assert taps.parse_tap("output:0:btc") == ("output:0", "btc")
    for wrong in ("x:bb", "x:bc", "x:tcf"):
        with pytest.raises(InputError, match="layout"):
            taps.parse_tap(wrong)


@pytest.mark.parametrize(("shape", "tap"), [((2, 3), "x"), ((2, 3, 4), "x:btfc")])
def test_axes_that_do_not_fit_the_layout_are_refused(shape: tuple[int, ...], tap: str) -> None:
    with pytest.raises(InputError, match="axes"):
        taps.canonical(torch.zeros(shape), tap)


def test_a_path_that_does_not_exist_lists_those_that_do() -> None:
    network = UNet(CONFIG)
    with (
        pytest.raises(InputError, match=r"encoder\.7") as caught,
        taps.capture(network, ["encoder.7"]),
    ):
        pass
    assert "Did you mean 'encoder." in caught.value.hint
    assert "decoder.0" in taps.existing("encoder.7", taps.tap_paths(network)[-20:])
    assert "more" in caught.value.hint
    assert caught.value.hint.count(",") < 20


def test_shapes_come_from_a_dry_run_that_changes_nothing() -> None:
    network = UNet(CONFIG).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    shapes = taps.tap_shapes(network, ["encoder.2", "bottleneck.latent"], StftContract())
    assert shapes == {"encoder.2": TapShape(16, 6), "bottleneck.latent": TapShape(1, 7)}
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_a_module_that_never_runs_is_refused() -> None:
    network = Toy()
    with taps.capture(network, ["gru", "unused"]) as found:
        network(torch.zeros(1, 4, 3))
    assert found["gru"].shape == (1, 4, 1, 5)
    with pytest.raises(InputError, match="does not run"):
        taps.shapes_of(found, ["gru", "unused"])


class Speaks(nn.Module):
    def forward(self, _value: Tensor) -> str:
        return "text"


def test_a_module_that_returns_no_tensor_is_refused() -> None:
    network = nn.Sequential(Speaks())
    with taps.capture(network, ["0"]), pytest.raises(InputError, match="no tensor"):
        network(torch.zeros(1))


def test_delayed_activations_lose_their_first_frames() -> None:
    value = torch.arange(6.0).view(1, 6, 1, 1)
    aligned = taps.align_frames({"x": value}, 4)
    assert aligned["x"].flatten().tolist() == [2.0, 3.0, 4.0, 5.0]
    with pytest.raises(InputError, match="6 frames"):
        taps.align_frames({"x": value}, 7)
