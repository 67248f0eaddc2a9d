"""Two stacked LSTM cores, from the description of DTLN.

Westhausen and Meyer 2020, "Dual-signal transformation LSTM network for real-time noise
suppression": the first core masks magnitudes, the second masks a learned transform of what the
first one left. The instant layer norm of the paper, which depends on each frame, is an affine
layer here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN, BASIS = 16, 24


class DtlnLike(nn.Module):
    """Features ``[batch, 3, time, bins]`` to a real mask between 0 and 1."""

    def __init__(self, bins: int = 64) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(bins)
        self.first = nn.LSTM(bins, HIDDEN, num_layers=2, batch_first=True)
        self.first_mask = nn.Sequential(nn.Linear(HIDDEN, bins), nn.Sigmoid())
        self.encode = nn.Conv1d(bins, BASIS, 1, bias=False)
        self.second = nn.LSTMCell(BASIS, HIDDEN)
        self.third = nn.LSTMCell(HIDDEN, HIDDEN)
        self.second_mask = nn.Sequential(nn.Linear(HIDDEN, BASIS), nn.Sigmoid())
        self.decode = nn.Conv1d(BASIS, bins, 1)

    def initial_states(self, batch: int = 1) -> dict[str, Tensor]:
        states = {name: torch.zeros(2, batch, HIDDEN) for name in ("first_h", "first_c")}
        cells = ("second_h", "second_c", "third_h", "third_c")
        return states | {name: torch.zeros(batch, HIDDEN) for name in cells}

    def step(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Any number of frames; a device gives one."""
        first, second, third = states[:2], states[2:4], states[4:]
        heard = self.norm(features[:, 0].transpose(1, 2))  # [batch, bins, time]
        series, first = self.first(heard.transpose(1, 2), first)
        kept = self.encode(heard * self.first_mask(series).transpose(1, 2))
        shown = []
        for frame in kept.unbind(dim=2):
            second = self.second(frame, second)
            third = self.third(second[0], third)
            shown.append(self.second_mask(third[0]))
        masked = kept * torch.stack(shown, dim=2)
        mask = torch.sigmoid(self.decode(masked)).transpose(1, 2)[:, None]
        return (mask, *first, *second, *third)

    def forward(self, features: Tensor) -> Tensor:
        return self.step(features, *self.initial_states(len(features)).values())[0]
