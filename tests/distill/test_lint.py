"""The lint names what is bad on purpose, and is silent on what is good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from distill.lint import Finding, errors, lint
from distill.tracing import trace
from distill.unet import PRESETS, UNet, UNetConfig

SMALL = UNetConfig(bins=64, widths=(4, 6, 8), hidden=8)


def channels_first(frames: int) -> tuple[Tensor, ...]:
    """``[batch, channels, time]``"""
    return (torch.empty(1, 8, frames),)


def channels_last(frames: int) -> tuple[Tensor, ...]:
    """``[batch, time, channels]``"""
    return (torch.empty(1, frames, 8),)


def image(frames: int) -> tuple[Tensor, ...]:
    """``[batch, channels, time, frequency]``"""
    return (torch.empty(1, 4, frames, 16),)


class Code(nn.Module):
    """A function as a network, a causal layer before it."""

    def __init__(self, function: Callable[[Tensor], Tensor], layer: nn.Module | None = None):
        super().__init__()
        self.layer = layer or nn.Identity()
        self.function = function

    def forward(self, value: Tensor) -> Tensor:
        return self.function(self.layer(value))


def rules(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.layer, finding.rule) for finding in findings}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_no_false_alarm_on_our_presets(name: str) -> None:
    assert lint(UNet(PRESETS[name])) == []


@pytest.mark.parametrize(
    "change",
    [
        {"mask": "real"},
        {"bottleneck": "tcn"},
        {"bottleneck": "dual", "full_band": 6},
        {"bands": {"kind": "erb", "count": 32}},
        {"kernel_time": 1},
        {"widths": (5,), "patch": 1, "kernel_frequency": 5},
    ],
)
def test_no_false_alarm_on_any_kind_of_student(change: dict[str, object]) -> None:
    config = UNetConfig.model_validate({**SMALL.model_dump(), **change})
    assert lint(UNet(config)) == []


def test_a_declared_look_ahead_is_a_warning_with_its_length() -> None:
    network = UNet(SMALL.model_copy(update={"look_ahead": 2}))
    (finding,) = lint(network)
    assert (finding.rule, finding.severity) == ("look-ahead", "warning")
    assert finding.layer == "bottleneck"
    assert "2 frames" in finding.message


def test_a_bidirectional_bottleneck_is_named() -> None:
    network = UNet(SMALL.model_copy(update={"bottleneck": "bigru"}))
    found = errors(lint(network))
    assert rules(found) == {("bottleneck.gru", "bidirectional")}


BAD_OVER_TIME = [
    (nn.InstanceNorm1d(8), channels_first, "time-normalisation"),
    (nn.GroupNorm(2, 8), channels_first, "time-normalisation"),
    (nn.GroupNorm(2, 4), image, "time-normalisation"),
    (nn.BatchNorm1d(8, track_running_stats=False), channels_first, "time-normalisation"),
    (nn.GRU(8, 8, batch_first=True, bidirectional=True), channels_last, "bidirectional"),
    (nn.LSTM(8, 8, batch_first=True, bidirectional=True), channels_last, "bidirectional"),
    (nn.TransformerEncoderLayer(8, 2, batch_first=True), channels_last, "attention"),
    (nn.Conv1d(8, 8, 3, padding=1), channels_first, "look-ahead"),
    (nn.Conv1d(8, 8, 5, padding="same"), channels_first, "look-ahead"),
    (nn.Conv2d(4, 4, 3, padding=1), image, "look-ahead"),
    (nn.AvgPool1d(3, 1, 1), channels_first, "look-ahead"),
    (nn.Softmax(dim=2), channels_first, "attention"),
    (nn.Conv1d(8, 8, 2, stride=2), channels_first, "time-rate"),
    (nn.ConvTranspose1d(8, 8, 2, stride=2), channels_first, "time-rate"),
    (nn.Upsample(scale_factor=2.0), channels_first, "time-rate"),
]


@pytest.mark.parametrize(("module", "example", "rule"), BAD_OVER_TIME)
def test_a_layer_that_will_not_stream_is_named_inside_a_good_network(
    module: nn.Module, example: Callable[[int], tuple[Tensor, ...]], rule: str
) -> None:
    network = nn.Sequential(nn.Identity(), nn.Sequential(nn.Tanh(), module))
    found = rules(errors(lint(network, example)))
    assert any(path.startswith("1.1") and named == rule for path, named in found)


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (nn.GRU(8, 8, batch_first=True), channels_last),
        (nn.Conv2d(4, 4, (1, 3), padding=(0, 1)), image),
        (nn.Conv2d(4, 4, (1, 2), stride=(1, 2)), image),
        (nn.ConvTranspose2d(4, 4, (1, 2), stride=(1, 2)), image),
        (nn.Upsample(scale_factor=(1.0, 2.0)), image),
        (nn.Sequential(nn.Conv1d(8, 8, 1), nn.BatchNorm1d(8), nn.PReLU(8)), channels_first),
        (nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.LeakyReLU()), channels_last),
        (nn.Sequential(nn.Conv1d(8, 8, 1), nn.ReLU6()), channels_first),
        (nn.Softmax(dim=1), channels_first),
        (nn.SiLU(), image),
    ],
)
def test_no_false_alarm_on_good_layers(
    module: nn.Module, example: Callable[[int], tuple[Tensor, ...]]
) -> None:
    assert lint(nn.Sequential(module), example) == [] or isinstance(module, nn.GRU)
    assert errors(lint(module, example)) == []


def test_the_layout_decides_what_a_normalisation_spans() -> None:
    assert errors(lint(nn.LayerNorm(8), channels_last)) == []
    folded = Code(lambda value: value, nn.LayerNorm(8))
    assert rules(lint(folded, channels_last)) == {("layer", "operator")}  # at a price: statistics
    over_time = Code(lambda value: functional.layer_norm(value, value.shape[1:]))
    assert ("", "whole-sequence") in rules(errors(lint(over_time, channels_last)))


def test_recurrence_over_frequency_is_no_look_ahead() -> None:
    def inside_the_frame(value: Tensor) -> Tensor:
        batch, time, _ = value.shape
        folded: Tensor = network.layer(value.reshape(batch * time, 8, 1))[0]
        return folded.reshape(batch, time, -1)

    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(1, 4, batch_first=True, bidirectional=True)

        def forward(self, value: Tensor) -> Tensor:
            return inside_the_frame(value)

    network = Inside()
    found = lint(network, channels_last)
    assert errors(found) == []
    assert ("layer", "operator") in rules(found)


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (lambda x: x - x.mean(dim=1, keepdim=True), "whole-sequence"),
        (lambda x: x.flip(1), "whole-sequence"),
        (lambda x: torch.softmax(x @ x.mT, -1) @ x, "whole-sequence"),
        (lambda x: functional.pad(x, (0, 0, 0, 3))[:, 3:], "look-ahead"),
        (lambda x: x.roll(-2, 1), "look-ahead"),
    ],
)
def test_functional_code_does_not_hide_from_the_probe(
    function: Callable[[Tensor], Tensor], rule: str
) -> None:
    network = nn.Sequential(nn.Linear(8, 8), Code(function))
    assert ("1", rule) in rules(errors(lint(network, channels_last)))


@settings(max_examples=15, deadline=None)
@given(ahead=st.integers(0, 6), behind=st.integers(0, 6))
def test_look_ahead_is_measured_in_frames(ahead: int, behind: int) -> None:
    torch.manual_seed(0)

    def padded(value: Tensor) -> Tensor:
        return functional.pad(value, (behind, ahead))

    network = nn.Sequential(Code(padded), nn.Conv1d(8, 8, ahead + behind + 1))
    assert trace(network, channels_first).root.lag_out == ahead
    found = errors(lint(network, channels_first))
    assert bool(found) == bool(ahead)
    if ahead:
        assert (found[0].layer, found[0].rule) == ("1", "look-ahead")
        assert f"{ahead} frame" in found[0].message


def test_a_layer_behind_one_that_sees_everything_is_named_too() -> None:
    gru = nn.GRU(8, 4, batch_first=True, bidirectional=True)
    turned = Code(lambda value: value.mT, nn.InstanceNorm1d(8))
    found = errors(lint(nn.Sequential(turned, gru), channels_first))
    assert rules(found) == {("0.layer", "time-normalisation"), ("1", "bidirectional")}


def test_padding_that_is_cut_off_again_is_no_look_ahead() -> None:
    chomp = Code(lambda value: value[:, :, :-2])
    assert lint(nn.Sequential(nn.Conv1d(8, 8, 3, padding=2), chomp), channels_first) == []


@pytest.mark.parametrize(
    ("module", "severity"),
    [
        (nn.GELU(), "error"),
        (nn.Softplus(), "error"),
        (nn.Mish(), "error"),
        (nn.ELU(), "warning"),
        (nn.SELU(), "warning"),
        (nn.Hardswish(), "warning"),
        (nn.Hardsigmoid(), "warning"),
        (nn.ReLU6(), "warning"),
        (nn.LSTM(8, 8, batch_first=True), "warning"),
        (nn.LayerNorm(8), "warning"),
    ],
)
def test_operators_that_do_not_quantize_are_named(module: nn.Module, severity: str) -> None:
    network = nn.Sequential(nn.Tanh(), module)
    (finding,) = lint(network, channels_last)
    assert (finding.layer, finding.rule, finding.severity) == ("1", "operator", severity)
    assert finding.hint


@pytest.mark.parametrize(
    ("function", "severity"),
    [
        (torch.exp, "error"),
        (lambda x: torch.log(x.abs() + 1), "error"),
        (lambda x: x**2, "error"),
        (lambda x: torch.fft.rfft(x).abs(), "error"),
        (lambda x: x / (1 + x.abs()), "warning"),
        (lambda x: x.sum(-1, keepdim=True), "warning"),
        (lambda x: x.cumsum(1), "warning"),
        (lambda x: torch.special.bessel_j0(x), "unknown"),
    ],
)
def test_functional_operators_are_named_too(
    function: Callable[[Tensor], Tensor], severity: str
) -> None:
    found = lint(Code(function), channels_last)
    assert ("", "operator", severity) in {(f.layer, f.rule, f.severity) for f in found}


def test_what_is_computed_from_weights_alone_is_nobodys_business() -> None:
    scale = nn.Parameter(torch.ones(8))
    assert lint(Code(lambda value: value * torch.exp(scale).sqrt()), channels_last) == []


def test_a_norm_that_cannot_be_folded_is_named() -> None:
    network = nn.Sequential(nn.Conv1d(8, 8, 1), nn.ReLU(), nn.BatchNorm1d(8))
    (finding,) = lint(network, channels_first)
    assert (finding.layer, finding.rule) == ("2", "unfolded-norm")


def test_a_network_that_cannot_be_run_is_looked_at_and_says_so() -> None:
    network = nn.Sequential(nn.Linear(5, 8), nn.GRU(8, 8, bidirectional=True), nn.GroupNorm(2, 8))
    found = lint(network, channels_last)
    assert found[0].rule == "not-run"
    assert found[0].severity == "unknown"
    assert {("1", "bidirectional"), ("2", "time-normalisation")} <= rules(found)


def test_a_network_without_finite_output_was_not_judged() -> None:
    (finding, *_) = lint(Code(lambda value: value * torch.inf * 0), channels_last)
    assert finding.rule == "not-run"
    assert "not finite" in finding.message


def test_every_source_of_look_ahead_is_named() -> None:
    layers = [nn.Conv1d(8, 8, 3, padding=1), nn.Tanh(), nn.Conv1d(8, 8, 5, padding=2)]
    found = lint(nn.Sequential(*layers), channels_first)
    assert rules(found) == {("0", "look-ahead"), ("2", "look-ahead")}
    assert "sees 1 frame ahead" in found[0].message
    assert "sees 2 frames ahead" in found[1].message


def test_the_network_is_left_as_it_was() -> None:
    network = UNet(SMALL).train()
    network.decoder.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lint(network)
    assert network.training
    assert not network.decoder[0].training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.encoder[0]._forward_hooks
