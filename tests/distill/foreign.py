"""Foreign denoisers in a few lines: what a teacher of the user's own might look like."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Trailing(nn.Module):
    """Half of the input, ``delay`` steps late along time (axis 1 of ``[b, s]`` and ``[b, t, f]``).

    ``tap`` passes the magnitudes, a vector per step.
    """

    def __init__(self, delay: int) -> None:
        super().__init__()
        self.delay = delay
        self.gain = nn.Parameter(torch.tensor(0.5))
        self.tap = nn.Identity()

    def forward(self, value: Tensor) -> Tensor:
        length = value.shape[1]
        padding = [0, 0] * (value.dim() - 2) + [self.delay, 0]
        late = functional.pad(value, padding)[:, :length] * self.gain
        self.tap(late.abs().reshape(*late.shape[:2], -1))
        return late


class Parts(nn.Module):
    """Half of spectra given as ``[b, f, t, 2]``, beside something else."""

    def forward(self, value: Tensor) -> tuple[Tensor, str]:
        return 0.5 * value, "and something else"


class Mask(nn.Module):
    """A gain of a half for every bin, of so many channels, from features ``[b, 3, t, f]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, value: Tensor) -> Tensor:
        gain = torch.zeros(len(value), self.channels, *value.shape[2:])
        gain[:, 0] = 0.5
        return gain


class Waveform(nn.Module):
    """What is done to a waveform ``[b, 1, s]``, by name."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, value: Tensor) -> object:
        match self.what:
            case "half":
                return 0.5 * value
            case "cut":
                return value[..., :-7]
            case "nan":
                return value * torch.nan
            case "text":
                return "no tensor"
        raise RuntimeError("the module broke\nin two lines")


def trailing(delay: int = 0) -> nn.Module:
    return Trailing(delay)


def parts() -> nn.Module:
    return Parts()


def mask(channels: int) -> nn.Module:
    return Mask(channels)


def waveform(what: str = "half") -> nn.Module:
    return Waveform(what)


def broken() -> nn.Module:
    raise RuntimeError("no such luck")


def number() -> int:
    return 3


NO_FUNCTION = 3
