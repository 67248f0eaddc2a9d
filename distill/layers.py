"""Streaming layers: each computes a whole sequence and one frame, from the same weights.

Sequences are ``[batch, channels, time, frequency]``; a frame is a sequence of one time step.
``forward(sequence, state)`` and ``step(frame, state)`` both return the output and the new state,
so that a sequence may be cut anywhere. A state is a tensor, or ``None`` for a memoryless layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.batch_norm import SharedBatchNorm


def same_padding(kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after a frequency axis divisible by ``stride`` (TensorFlow's SAME rule)."""
    total = max(kernel - stride, 0)
    return total // 2, total - total // 2


class CausalConv(nn.Module):
    """Convolution strided along frequency and causal along time, then batch norm and ReLU.

    The state is the last ``kernel_time − 1`` input frames.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], stride: int, bins: int
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.bins = kernel, stride, bins
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=(1, stride), bias=False)
        self.norm = SharedBatchNorm(outputs)

    def initial_state(self, batch: int) -> Tensor | None:
        history = self.kernel[0] - 1
        if not history:
            return None
        shape = (batch, self.conv.in_channels, history, self.bins)
        return torch.zeros(shape, device=self.conv.weight.device)

    def forward(self, sequence: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if state is not None:
            sequence = torch.cat([state, sequence], dim=2)
            state = sequence[:, :, -state.shape[2] :]
        padded = functional.pad(sequence, same_padding(self.kernel[1], self.stride))
        return functional.relu(self.norm(self.conv(padded))), state

    # A convolution over [history, frame] is the same function for one frame as for many.
    step = forward


class SubPixelConv(nn.Module):
    """Convolution along frequency whose channels unfold into ``factor`` times as many bins.

    Output channel ``j · outputs + c`` becomes channel ``c`` of bin ``f · factor + j``: with
    channels stored last this is a reshape that moves nothing (sub-pixel convolution, Shi et al.
    2016).
    Memoryless. The last one of a network has no norm and no ReLU.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, factor: int, *, last: bool = False
    ) -> None:
        super().__init__()
        self.outputs, self.factor, self.last = outputs, factor, last
        self.conv = nn.Conv2d(
            inputs, outputs * factor, (1, kernel), padding=(0, kernel // 2), bias=last
        )
        self.norm = nn.Identity() if last else SharedBatchNorm(outputs * factor)

    def forward(self, sequence: Tensor) -> Tensor:
        wide = self.norm(self.conv(sequence))
        batch, _, time, bins = wide.shape
        split = wide.view(batch, self.factor, self.outputs, time, bins)
        fine = split.permute(0, 2, 3, 4, 1).reshape(batch, self.outputs, time, -1)
        return fine if self.last else functional.relu(fine)

    step = forward
