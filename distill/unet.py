"""The causal U-Net family: strided encoder, bottleneck, additive skips, sub-pixel decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from distill.bands import BandLayer, Bands, centres
from distill.bottlenecks import (
    BidirectionalGruBottleneck,
    Bottleneck,
    DualPathBottleneck,
    GruBottleneck,
    States,
    TcnBottleneck,
)
from distill.layers import CausalConv, SubPixelConv
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError

MASK_CHANNELS = {"complex": 2, "real": 1}  # complex: real and imaginary part
# Before tanh, so that an untrained mask is near 0.76 + 0i: small networks that start from a mask
# around zero spend hundreds of steps on a plateau (`tiny`, 400 steps: −0.6 dB, so +4.8 dB).
# Before the sigmoid of a real mask, the same gain.
MASK_START = {"complex": 1.0, "real": math.log(math.tanh(1.0) / (1.0 - math.tanh(1.0)))}
DUAL_BLOCKS = 2
BOTTLENECKS: dict[str, type[Bottleneck]] = {
    "gru": GruBottleneck,
    "tcn": TcnBottleneck,
    "dual": DualPathBottleneck,
    "bigru": BidirectionalGruBottleneck,
}


class UNetConfig(BaseModel):
    """Sizes and kinds of one network. The first level folds ``patch`` bins, each further one two.

    ``look_ahead`` is in frames; with ``bands`` the levels work on bands instead of bins. ``blocks``
    and ``full_band``, 0 for none, are sizes of the bottleneck ``dual``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bins: int = 256
    widths: tuple[int, ...] = (16, 24, 32, 32)
    hidden: int = Field(64, ge=1)
    blocks: int = Field(DUAL_BLOCKS, ge=1)
    full_band: int = Field(0, ge=0)
    patch: int = Field(4, ge=1)
    kernel_time: int = Field(2, ge=1)
    kernel_frequency: int = Field(3, ge=1)
    mask: Literal["complex", "real"] = "complex"
    bottleneck: Literal["gru", "tcn", "dual", "bigru"] = "gru"
    look_ahead: int = Field(0, ge=0)
    bands: Bands | None = None

    @model_validator(mode="after")
    def _fits(self) -> UNetConfig:
        if not self.widths or min(self.widths) < 1:
            raise ValueError("widths needs at least one positive number")
        if self.resolution % (self.patch * 2 ** (len(self.widths) - 1)):
            counted = "bins" if self.bands is None else "the count of bands"
            raise ValueError(f"{counted} must be divisible by patch · 2^(levels − 1)")
        if self.kernel_frequency % 2 == 0:
            raise ValueError("kernel_frequency must be odd")
        if self.bottleneck == "bigru" and self.look_ahead:
            raise ValueError("a bigru hears everything: it takes no look_ahead")
        # A checkpoint names every size: the default says nothing.
        if self.bottleneck != "dual" and (self.full_band or self.blocks != DUAL_BLOCKS):
            raise ValueError("blocks and full_band are sizes of the bottleneck dual only")
        if self.bands is not None:
            centres(self.bands, self.bins)  # raises where a band would have no bin
        return self

    @property
    def resolution(self) -> int:
        """Frequencies the levels work on: bins, or bands."""
        return self.bins if self.bands is None else self.bands.count

    @property
    def strides(self) -> tuple[int, ...]:
        return (self.patch, *(2 for _ in self.widths[1:]))


PRESETS: dict[str, UNetConfig] = {
    "teacher": UNetConfig(widths=(32, 48, 64, 64), hidden=160),
    "small": UNetConfig(widths=(16, 24, 32, 32), hidden=64),
    "tiny": UNetConfig(widths=(8, 12, 16, 16), hidden=32),
}


def preset(name: str) -> UNetConfig:
    """The named preset; raises InputError naming the known ones."""
    if name not in PRESETS:
        raise InputError(f"No preset {name!r}.", hint=f"Known: {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]


class Output(NamedTuple):
    """Mask ``[batch, 2 or 1, time, bins]``, latents ``[batch, time, width]``, new states."""

    mask: Tensor
    latent: Tensor
    states: States


@dataclass(frozen=True)
class _Level:
    bins: int
    inputs: int
    outputs: int
    stride: int


def _levels(config: UNetConfig) -> list[_Level]:
    levels, bins, inputs = [], config.resolution, FEATURE_CHANNELS
    for width, stride in zip(config.widths, config.strides, strict=True):
        levels.append(_Level(bins, inputs, width, stride))
        bins, inputs = bins // stride, width
    return levels


class UNet(nn.Module):
    """Features ``[batch, 3, time, bins]`` to a mask: complex, bounded to ±1 per component, or
    real, between 0 and 1.

    ``forward`` and ``step`` compute the same function; states are named ``encoder1``, …, ``gru``
    (see :mod:`distill.bottlenecks`) and, with look-ahead, ``skip0``, …
    The first level looks at one frame only, so that the features need no history of their own.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.bands = None if config.bands is None else BandLayer(config.bands, config.bins)
        levels = _levels(config)
        self.encoder = nn.ModuleList(
            _encoder(config, level, first=index == 0) for index, level in enumerate(levels)
        )
        deepest = levels[-1]
        self.bottleneck = _bottleneck(config, deepest.outputs, deepest.bins // deepest.stride)
        self.decoder = nn.ModuleList(
            _decoder(config, level, last=index == 0)
            for index, level in reversed(list(enumerate(levels)))
        )
        _start_near_identity(cast(SubPixelConv, self.decoder[-1]), config)

    def initial_states(self, batch: int = 1) -> States:
        """All-zero states for ``batch`` streams."""
        states = self.bottleneck.initial_states(batch)
        for index, layer in enumerate(self.encoder):
            state = cast(CausalConv, layer).initial_state(batch)
            if state is not None:
                states[f"encoder{index}"] = state
        return states | self._waiting(batch)

    def _waiting(self, batch: int) -> States:
        """Skips ``skip0``, …, that wait until the bottleneck has heard ``look_ahead`` more."""
        ahead = self.config.look_ahead
        if not ahead:
            return {}
        device = next(self.parameters()).device
        return {
            f"skip{index}": torch.zeros(
                (batch, level.outputs, ahead, level.bins // level.stride), device=device
            )
            for index, level in enumerate(_levels(self.config))
        }

    def forward(self, features: Tensor, states: States | None = None) -> Output:
        """A whole sequence ``[batch, 3, time, bins]``; mask and latents belong to its frames.

        Behind its end the bottleneck hears ``look_ahead`` frames of zeros; so with look-ahead the
        states do not continue the sequence.
        """
        states = self.initial_states(len(features)) if states is None else states
        skips, following = self._encode(features, states)
        _, waiting = self._delayed(skips, states)
        value, remembered, latent = self.bottleneck(skips[-1], states, self.config.look_ahead)
        return Output(self._mask(value, skips), latent, {**following, **waiting, **remembered})

    def step(self, features: Tensor, states: States) -> Output:
        """One frame ``[batch, 3, 1, bins]``; mask and latent are those of ``look_ahead`` frames
        before it. Raises InputError where the bottleneck cannot stream."""
        skips, following = self._encode(features, states)
        aligned, waiting = self._delayed(skips, states)
        value, remembered, latent = self.bottleneck.step(skips[-1], states)
        return Output(self._mask(value, aligned), latent, {**following, **waiting, **remembered})

    def _encode(self, features: Tensor, states: States) -> tuple[list[Tensor], States]:
        """The outputs of all levels, shallowest first, and their new states."""
        value = features if self.bands is None else self.bands.compress(features)
        following: States = {}
        skips = []
        for index, layer in enumerate(self.encoder):
            value, state = layer(value, states.get(f"encoder{index}"))
            if state is not None:
                following[f"encoder{index}"] = state
            skips.append(value)
        return skips, following

    def _delayed(self, skips: Sequence[Tensor], states: States) -> tuple[list[Tensor], States]:
        """The skips of ``look_ahead`` frames before, and those that wait from now on."""
        ahead = self.config.look_ahead
        if not ahead:
            return list(skips), {}
        queues = [
            torch.cat((states[f"skip{index}"], skip), dim=2) for index, skip in enumerate(skips)
        ]
        waiting = {f"skip{index}": queue[:, :, -ahead:] for index, queue in enumerate(queues)}
        return [queue[:, :, :-ahead] for queue in queues], waiting

    def _mask(self, value: Tensor, skips: Sequence[Tensor]) -> Tensor:
        for layer, skip in zip(self.decoder, reversed(skips), strict=True):
            value = layer(value + skip)
        mask = torch.tanh(value) if self.config.mask == "complex" else torch.sigmoid(value)
        return mask if self.bands is None else self.bands.expand(mask)


def _bottleneck(config: UNetConfig, channels: int, bins: int) -> Bottleneck:
    if config.bottleneck == "dual":
        return DualPathBottleneck(channels, bins, config.hidden, config.blocks, config.full_band)
    return BOTTLENECKS[config.bottleneck](channels, bins, config.hidden)


def _encoder(config: UNetConfig, level: _Level, *, first: bool) -> CausalConv:
    kernel = (1, 2 * level.stride) if first else (config.kernel_time, config.kernel_frequency)
    return CausalConv(level.inputs, level.outputs, kernel, level.stride, level.bins)


def _decoder(config: UNetConfig, level: _Level, *, last: bool) -> SubPixelConv:
    outputs = MASK_CHANNELS[config.mask] if last else level.inputs
    return SubPixelConv(level.outputs, outputs, config.kernel_frequency, level.stride, last=last)


def _start_near_identity(layer: SubPixelConv, config: UNetConfig) -> None:
    bias = layer.conv.bias
    assert bias is not None
    with torch.no_grad():
        bias.zero_()
        bias.view(-1, MASK_CHANNELS[config.mask])[:, 0] = MASK_START[config.mask]
