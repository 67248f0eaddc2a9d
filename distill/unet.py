"""The causal U-Net family: strided encoder, GRU bottleneck, additive skips, sub-pixel decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn

from distill.layers import CausalConv, GruBottleneck, SubPixelConv
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError

MASK_CHANNELS = 2  # real and imaginary part
# Before tanh, so that an untrained mask is near 0.76 + 0i: small networks that start from a mask
# around zero spend hundreds of steps on a plateau (`tiny`, 400 steps: −0.6 dB, so +4.8 dB).
MASK_START = 1.0
States = dict[str, Tensor]


class UNetConfig(BaseModel):
    """Sizes of one network. The first level folds ``patch`` bins, each further one two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bins: int = 256
    widths: tuple[int, ...] = (16, 24, 32, 32)
    hidden: int = 64
    patch: int = 4
    kernel_time: int = 2
    kernel_frequency: int = 3

    @model_validator(mode="after")
    def _divides(self) -> UNetConfig:
        if not self.widths or min(self.widths) < 1:
            raise ValueError("widths needs at least one positive number")
        if self.bins % (self.patch * 2 ** (len(self.widths) - 1)):
            raise ValueError("bins must be divisible by patch · 2^(levels − 1)")
        if self.kernel_frequency % 2 == 0:
            raise ValueError("kernel_frequency must be odd")
        return self

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
    """Mask ``[batch, 2, time, bins]``, latents ``[batch, time, hidden]`` and the new states."""

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
    levels, bins, inputs = [], config.bins, FEATURE_CHANNELS
    for width, stride in zip(config.widths, config.strides, strict=True):
        levels.append(_Level(bins, inputs, width, stride))
        bins, inputs = bins // stride, width
    return levels


class UNet(nn.Module):
    """Features ``[batch, 3, time, bins]`` to a complex mask bounded to ±1 per component.

    ``forward`` and ``step`` compute the same function; states are named ``encoder1``, …, ``gru``.
    The first level looks at one frame only, so that the features need no history of their own.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        levels = _levels(config)
        for index, level in enumerate(levels):
            kernel = (
                (1, 2 * level.stride)
                if index == 0
                else (config.kernel_time, config.kernel_frequency)
            )
            self.encoder.append(
                CausalConv(level.inputs, level.outputs, kernel, level.stride, level.bins)
            )
        deepest = levels[-1]
        self.bottleneck = GruBottleneck(
            deepest.outputs, deepest.bins // deepest.stride, config.hidden
        )
        for index, level in reversed(list(enumerate(levels))):
            last = index == 0
            self.decoder.append(
                SubPixelConv(
                    level.outputs,
                    MASK_CHANNELS if last else level.inputs,
                    config.kernel_frequency,
                    level.stride,
                    last=last,
                )
            )

        bias = cast(SubPixelConv, self.decoder[-1]).conv.bias
        assert bias is not None
        with torch.no_grad():
            bias.zero_()
            bias.view(-1, MASK_CHANNELS)[:, 0] = MASK_START

    def initial_states(self, batch: int = 1) -> States:
        """All-zero states for ``batch`` streams."""
        states = {"gru": self.bottleneck.initial_state(batch)}
        for index, layer in enumerate(self.encoder):
            state = cast(CausalConv, layer).initial_state(batch)
            if state is not None:
                states[f"encoder{index}"] = state
        return states

    def forward(self, features: Tensor, states: States | None = None) -> Output:
        """A whole sequence ``[batch, 3, time, bins]``."""
        states = self.initial_states(len(features)) if states is None else states
        return self._run(features, states, whole=True)

    def step(self, features: Tensor, states: States) -> Output:
        """One frame ``[batch, 3, 1, bins]``."""
        return self._run(features, states, whole=False)

    def _run(self, value: Tensor, states: States, *, whole: bool) -> Output:
        following: States = {}
        skips = []
        for index, layer in enumerate(self.encoder):
            name = f"encoder{index}"
            value, state = (layer if whole else cast(CausalConv, layer).step)(
                value, states.get(name)
            )
            if state is not None:
                following[name] = state
            skips.append(value)
        bottleneck = self.bottleneck if whole else self.bottleneck.step
        value, following["gru"], latent = bottleneck(value, states["gru"])
        for layer in self.decoder:
            value = layer(value + skips.pop())
        return Output(torch.tanh(value), latent, following)
