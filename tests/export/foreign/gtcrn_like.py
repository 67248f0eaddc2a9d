"""A grouped temporal convolutional recurrent network, from the description of GTCRN.

Rong, Sun, Zhang et al. 2024, "GTCRN: a speech enhancement model requiring ultralow computational
resources": merged high bands, neighbouring bands as channels, grouped temporal convolutions with a
channel shuffle and temporal recurrent attention, and dual-path grouped GRUs. Where the paper
normalises each frame with its own statistics, this network has batch norms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 8
LOW, BANDS = 16, 32  # bins kept as they are, and all bands after merging
DILATIONS = (1, 2, 3)


class BandMerging(nn.Module):
    """Low bins stay, high ones become fewer bands by a matrix, and back."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.merge = nn.Linear(bins - LOW, BANDS - LOW, bias=False)
        self.spread = nn.Linear(BANDS - LOW, bins - LOW, bias=False)

    def forward(self, bins: Tensor) -> Tensor:
        return torch.cat([bins[..., :LOW], self.merge(bins[..., LOW:])], dim=-1)

    def back(self, bands: Tensor) -> Tensor:
        return torch.cat([bands[..., :LOW], self.spread(bands[..., LOW:])], dim=-1)


class SubbandFeatures(nn.Module):
    """Each band sees its two neighbours as channels."""

    def forward(self, frames: Tensor) -> Tensor:
        batch, channels, times, bands = frames.shape
        unfolded = functional.unfold(frames, (1, 3), padding=(0, 1))
        return unfolded.reshape(batch, 3 * channels, times, bands)


class ConvBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int, *, up: bool, last: bool) -> None:
        super().__init__()
        if up:
            self.conv: nn.Module = nn.ConvTranspose2d(
                inputs, outputs, (1, 4), (1, 2), (0, 1), groups=groups
            )
        else:
            self.conv = nn.Conv2d(inputs, outputs, (1, 5), (1, 2), (0, 2), groups=groups)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation: nn.Module = nn.Tanh() if last else nn.PReLU()

    def forward(self, frames: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(frames)))


class TemporalAttention(nn.Module):
    """A gain per channel from the energy of the frame and those before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gru = nn.GRU(channels, 2 * channels, batch_first=True)
        self.gain = nn.Linear(2 * channels, channels)

    def forward(self, frames: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        energy = torch.mean(frames.pow(2), dim=-1)  # [batch, channels, time]
        series, state = self.gru(energy.transpose(1, 2), state)
        gain = torch.sigmoid(self.gain(series)).transpose(1, 2)
        return frames * gain[..., None], state


class GroupedTemporalConv(nn.Module):
    """Half of the channels through a dilated depthwise convolution; then all are shuffled."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        half, inner = WIDTH // 2, WIDTH
        self.neighbours = SubbandFeatures()
        self.enter = nn.Sequential(
            nn.Conv2d(3 * half, inner, 1), nn.BatchNorm2d(inner), nn.PReLU(inner)
        )
        self.depth = nn.Conv2d(
            inner, inner, (3, 3), padding=(0, 1), dilation=(dilation, 1), groups=inner
        )
        self.depth_norm = nn.BatchNorm2d(inner)
        self.depth_activation = nn.PReLU()
        self.leave = nn.Sequential(nn.Conv2d(inner, half, 1), nn.BatchNorm2d(half))
        self.attention = TemporalAttention(half)
        self.history = 2 * dilation

    def forward(self, frames: Tensor, past: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first, second = frames.chunk(2, dim=1)
        window = torch.cat([past, self.enter(self.neighbours(first))], dim=2)
        inner = self.depth_activation(self.depth_norm(self.depth(window)))
        first, state = self.attention(self.leave(inner), state)
        batch, half, times, bands = first.shape
        shuffled = torch.stack([first, second], dim=2).reshape(batch, 2 * half, times, bands)
        return shuffled, window[:, :, -self.history :], state


class GroupedGru(nn.Module):
    """Two GRUs, each of half of the features."""

    def __init__(self, inputs: int, hidden: int, *, both_ways: bool) -> None:
        super().__init__()
        self.first, self.second = (
            nn.GRU(inputs // 2, hidden // 2, batch_first=True, bidirectional=both_ways)
            for _ in range(2)
        )

    def forward(
        self, sequence: Tensor, states: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = sequence.chunk(2, dim=-1)
        first, second = states if states is not None else (None, None)
        left, first = self.first(parts[0], first)
        right, second = self.second(parts[1], second)
        return torch.cat([left, right], dim=-1), first, second


class DualPath(nn.Module):
    """Along frequency both ways within a frame, then along time within each band."""

    def __init__(self) -> None:
        super().__init__()
        self.within = GroupedGru(WIDTH, WIDTH // 2, both_ways=True)
        self.within_out, self.within_norm = nn.Linear(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH)
        self.between = GroupedGru(WIDTH, WIDTH, both_ways=False)
        self.between_out, self.between_norm = nn.Linear(WIDTH, WIDTH), nn.BatchNorm2d(WIDTH)

    def forward(
        self, frames: Tensor, first: Tensor, second: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, channels, times, bands = frames.shape
        rows = frames.permute(0, 2, 3, 1).reshape(batch * times, bands, channels)
        rows = self.within_out(self.within(rows)[0]).reshape(batch, times, bands, channels)
        frames = frames + self.within_norm(rows.permute(0, 3, 1, 2))
        columns = frames.permute(0, 3, 2, 1).reshape(batch * bands, times, channels)
        columns, first, second = self.between(columns, (first, second))
        columns = self.between_out(columns).reshape(batch, bands, times, channels)
        return frames + self.between_norm(columns.permute(0, 3, 2, 1)), first, second


class GtcrnLike(nn.Module):
    """Features ``[batch, 3, time, bins]`` to a complex mask."""

    def __init__(self, bins: int = 64) -> None:
        super().__init__()
        self.bands = BandMerging(bins)
        self.neighbours = SubbandFeatures()
        self.down = nn.ModuleList(
            [
                ConvBlock(9, WIDTH, 1, up=False, last=False),
                ConvBlock(WIDTH, WIDTH, 2, up=False, last=False),
            ]
        )
        self.encoder = nn.ModuleList(GroupedTemporalConv(dilation) for dilation in DILATIONS)
        self.middle = DualPath()
        self.decoder = nn.ModuleList(
            GroupedTemporalConv(dilation) for dilation in reversed(DILATIONS)
        )
        self.up = nn.ModuleList(
            [
                ConvBlock(WIDTH, WIDTH, 2, up=True, last=False),
                ConvBlock(WIDTH, 2, 1, up=True, last=True),
            ]
        )

    def initial_states(self, batch: int = 1) -> dict[str, Tensor]:
        inner = BANDS // 4
        states = {}
        for side, blocks in (("encoder", self.encoder), ("decoder", self.decoder)):
            for index, block in enumerate(blocks):
                assert isinstance(block, GroupedTemporalConv)
                states[f"{side}{index}_past"] = torch.zeros(batch, WIDTH, block.history, inner)
                states[f"{side}{index}_gru"] = torch.zeros(1, batch, WIDTH)
        for name in ("between0", "between1"):
            states[name] = torch.zeros(1, batch * inner, WIDTH // 2)
        return states

    def step(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        value = self.neighbours(self.bands(features))
        skips, pending, following = [], list(states), []
        for block in self.down:
            value = block(value)
            skips.append(value)
        for block in self.encoder:
            value, past, state = block(value, pending.pop(0), pending.pop(0))
            following += [past, state]
            skips.append(value)
        value, *between = self.middle(value, *pending[-2:])
        for block in self.decoder:
            value, past, state = block(value + skips.pop(), pending.pop(0), pending.pop(0))
            following += [past, state]
        for block in self.up:
            value = block(value + skips.pop())
        return (self.bands.back(value), *following, *between)

    def forward(self, features: Tensor) -> Tensor:
        return self.step(features, *self.initial_states(len(features)).values())[0]
