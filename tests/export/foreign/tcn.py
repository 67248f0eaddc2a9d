"""A temporal convolutional network between an encoder and a decoder over frequency.

The blocks follow Luo and Mesgarani 2019, "Conv-TasNet", section II.C: 1×1 convolution, PReLU and
norm, a dilated depthwise convolution, PReLU and norm, and 1×1 convolutions to a residual and a
skip path; norms are batch norms, as its causal variant needs statistics that do not see the
future. The decoder upsamples with transposed convolutions, as Pandey and Wang 2019, "TCNN".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, INNER = 12, 16
DILATIONS = (1, 2, 4)
KERNEL = 3


class Block(nn.Module):
    """One dilated block over ``[batch, channels, time]``."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(WIDTH, INNER, 1)
        self.enter_activation = nn.PReLU()
        self.enter_norm = nn.BatchNorm1d(INNER)
        self.depth = nn.Conv1d(INNER, INNER, KERNEL, dilation=dilation, groups=INNER)
        self.depth_activation = nn.PReLU(INNER)
        self.depth_norm = nn.BatchNorm1d(INNER)
        self.residual = nn.Conv1d(INNER, WIDTH, 1)
        self.skip = nn.Conv1d(INNER, WIDTH, 1)
        self.history = (KERNEL - 1) * dilation

    def forward(self, sequence: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        entered = self.enter_norm(self.enter_activation(self.enter(sequence)))
        window = torch.cat([past, entered], dim=2)
        inner = self.depth_norm(self.depth_activation(self.depth(window)))
        return sequence + self.residual(inner), self.skip(inner), window[:, :, -self.history :]


class Tcn(nn.Module):
    """Features ``[batch, 3, time, bins]`` to a complex mask."""

    def __init__(self, bins: int = 64) -> None:
        super().__init__()
        self.bins = bins // 8
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 6, (1, 8), (1, 4), (0, 2)),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, (1, 3), (1, 2), (0, 1)),
            nn.PReLU(8),
        )
        self.enter = nn.Conv1d(8 * self.bins, WIDTH, 1)
        self.blocks = nn.ModuleList(Block(dilation) for dilation in DILATIONS)
        self.leave = nn.Sequential(nn.PReLU(), nn.Conv1d(WIDTH, 8 * self.bins, 1))
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, 6, (1, 3), (1, 2), (0, 1), output_padding=(0, 1)),
            nn.BatchNorm2d(6),
            nn.PReLU(6),
            nn.ConvTranspose2d(6, 4, (1, 4), (1, 2), (0, 1)),
            nn.LeakyReLU(0.2),
        )
        self.last = nn.Conv2d(4, 4, (1, 3), padding=(0, 1))

    def initial_states(self, batch: int = 1) -> dict[str, Tensor]:
        return {
            f"block{index}": torch.zeros(batch, INNER, (KERNEL - 1) * dilation)
            for index, dilation in enumerate(DILATIONS)
        }

    def step(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Any number of frames; a device gives one."""
        coded = self.encoder(features)
        batch, channels, times, bins = coded.shape
        value = self.enter(coded.permute(0, 1, 3, 2).reshape(batch, channels * bins, times))
        total, following = torch.zeros_like(value), []
        for block, past in zip(self.blocks, states, strict=True):
            value, skip, past = block(value, past)
            total = total + skip
            following.append(past)
        wide = self.leave(total).reshape(batch, channels, bins, times).permute(0, 1, 3, 2)
        fine = self.last(self.decoder(functional.relu(wide + coded)))  # a sub-pixel step is left
        split = fine.view(batch, 2, 2, times, -1).permute(0, 2, 3, 4, 1)
        return (torch.tanh(split.reshape(batch, 2, times, -1)), *following)

    def forward(self, features: Tensor) -> Tensor:
        return self.step(features, *self.initial_states(len(features)).values())[0]
