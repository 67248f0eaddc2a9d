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


class GruBottleneck(nn.Module):
    """Gated recurrent unit over the flattened frame, with a linear way in and out.

    ``forward`` uses the fused kernel, ``step`` writes the cell out as matrix products
    (Cho et al. 2014, with the reset gate after the recurrent product as in cuDNN):

    r = σ(W_r x + U_r h), z = σ(W_z x + U_z h), n = tanh(W_n x + r ⊙ U_n h), h' = n + z ⊙ (h − n)

    Frames are flattened frequency-major, channels last, as the exported graph stores them.
    """

    def __init__(self, channels: int, bins: int, hidden: int) -> None:
        super().__init__()
        self.channels, self.bins, self.hidden = channels, bins, hidden
        self.gru = nn.GRU(channels * bins, hidden, batch_first=True)
        self.expand = nn.Linear(hidden, channels * bins)
        self.latent = nn.Identity()  # a name under which a forward hook finds the latents

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros((batch, self.hidden), device=self.expand.weight.device)

    def forward(self, sequence: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns output, new state and the latents ``[batch, time, hidden]``."""
        latent, last = self.gru(self._flatten(sequence), state.unsqueeze(0))
        latent = self.latent(latent)
        return self._unflatten(self.expand(latent)), last.squeeze(0), latent

    def step(self, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        entry = self._flatten(frame)[:, 0]
        input_weight, hidden_weight, input_bias, hidden_bias = self.gru.all_weights[0]
        ir, iz, inew = functional.linear(entry, input_weight, input_bias).chunk(3, dim=-1)
        hr, hz, hnew = functional.linear(state, hidden_weight, hidden_bias).chunk(3, dim=-1)
        reset, update = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
        candidate = torch.tanh(inew + reset * hnew)
        state = candidate + update * (state - candidate)
        latent = self.latent(state.unsqueeze(1))
        return self._unflatten(self.expand(latent)), state, latent

    def _flatten(self, sequence: Tensor) -> Tensor:
        return sequence.permute(0, 2, 3, 1).flatten(2)

    def _unflatten(self, latent: Tensor) -> Tensor:
        return latent.unflatten(2, (self.bins, self.channels)).permute(0, 3, 1, 2)


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
