"""Bottlenecks: what the network remembers of the past, between encoder and decoder.

Each maps the flattened frames of the deepest level to latents ``[batch, time, width]`` and those
linearly back. ``forward`` computes a whole sequence, ``step`` one frame; both return the output,
the new states by name and the latents, which pass the submodule ``latent`` so that a forward hook
finds them. Frames are flattened frequency-major, channels last, as the exported graph stores them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.batch_norm import SharedBatchNorm
from distill.recurrence import MinGru
from targets.errors import InputError

States = dict[str, Tensor]
Result = tuple[Tensor, States, Tensor]

TCN_KERNEL = 3
# With kernels of three frames these look back 30 frames, and the parameters are within a tenth of
# a GRU's of the same `hidden` for `tiny` and `small`.
TCN_DILATIONS = (1, 2, 4, 8)


class Bottleneck(nn.Module):
    """What the U-Net asks of a bottleneck; sequences are ``[batch, channels, time, bins]``.

    ``forward(sequence, states, ahead)`` hears ``ahead`` frames of zeros after the sequence and
    drops as many latents before it, so that a latent knows that many frames of its future.
    """

    expand: nn.Linear  # from latents to frames

    def __init__(self, channels: int, bins: int, hidden: int) -> None:
        super().__init__()
        self.channels, self.bins, self.hidden = channels, bins, hidden
        self.latent = nn.Identity()

    @property
    def width(self) -> int:
        """Length of a latent."""
        return self.hidden

    def initial_states(self, batch: int) -> States:
        """All-zero states for ``batch`` streams, by name."""
        raise NotImplementedError

    def step(self, frame: Tensor, states: States) -> Result:
        raise NotImplementedError


class GruBottleneck(Bottleneck):
    """Gated recurrent unit with a linear way out; its state is named ``gru``.

    ``forward`` uses the fused kernel, ``step`` the cell written out: see :func:`gru_cell`.
    """

    def __init__(self, channels: int, bins: int, hidden: int) -> None:
        super().__init__(channels, bins, hidden)
        self.gru = nn.GRU(channels * bins, hidden, batch_first=True)
        self.expand = nn.Linear(hidden, channels * bins)

    def initial_states(self, batch: int) -> States:
        return {"gru": torch.zeros((batch, self.hidden), device=self.expand.weight.device)}

    def forward(self, sequence: Tensor, states: States, ahead: int = 0) -> Result:
        heard = functional.pad(_flatten(sequence), (0, 0, 0, ahead))
        latent, last = self.gru(heard, states["gru"].unsqueeze(0))
        latent = self.latent(latent[:, ahead:])
        return _unflatten(self.expand(latent), self.bins), {"gru": last.squeeze(0)}, latent

    def step(self, frame: Tensor, states: States) -> Result:
        state = gru_cell(self.gru, _flatten(frame)[:, 0], states["gru"])
        latent = self.latent(state.unsqueeze(1))
        return _unflatten(self.expand(latent), self.bins), {"gru": state}, latent


class TcnBlock(nn.Module):
    """x + ReLU(norm(dilated causal convolution of x)) over ``[batch, hidden, time, 1]``.

    A residual block of a temporal convolutional network (Bai, Kolter and Koltun 2018), with one
    convolution. The state is the last ``2 · dilation`` input frames.
    """

    def __init__(self, hidden: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv2d(hidden, hidden, (TCN_KERNEL, 1), dilation=(dilation, 1), bias=False)
        self.norm = SharedBatchNorm(hidden)

    @property
    def history(self) -> int:
        return (TCN_KERNEL - 1) * self.dilation

    def forward(self, sequence: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        window = torch.cat([state, sequence], dim=2)
        output = sequence + functional.relu(self.norm(self.conv(window)))
        return output, window[:, :, -self.history :]


class TcnBottleneck(Bottleneck):
    """A stack of dilated causal convolutions between two linear layers; no recurrence.

    The states are named ``tcn0``, ``tcn1``, …, one a block.
    """

    def __init__(self, channels: int, bins: int, hidden: int) -> None:
        super().__init__(channels, bins, hidden)
        self.enter = nn.Linear(channels * bins, hidden)
        self.blocks = nn.ModuleList(TcnBlock(hidden, dilation) for dilation in TCN_DILATIONS)
        self.expand = nn.Linear(hidden, channels * bins)

    def initial_states(self, batch: int) -> States:
        device = self.expand.weight.device
        return {
            f"tcn{index}": torch.zeros(
                (batch, self.hidden, cast(TcnBlock, block).history, 1), device=device
            )
            for index, block in enumerate(self.blocks)
        }

    def forward(self, sequence: Tensor, states: States, ahead: int = 0) -> Result:
        heard = functional.pad(_flatten(sequence), (0, 0, 0, ahead))
        value = self.enter(heard).transpose(1, 2).unsqueeze(-1)
        following: States = {}
        for index, block in enumerate(self.blocks):
            value, following[f"tcn{index}"] = block(value, states[f"tcn{index}"])
        latent = self.latent(value.squeeze(-1).transpose(1, 2)[:, ahead:])
        return _unflatten(self.expand(latent), self.bins), following, latent

    def step(self, frame: Tensor, states: States) -> Result:
        # Over [history, frame] the convolutions are the same for one frame as for many.
        return self.forward(frame, states)


class DualPathBlock(nn.Module):
    """Time, then frequency, each as a residual over ``[batch, channels, time, bins]``.

    x + W MinGru(x) with one recurrence for all bins, each with a state of its own; then
    x + M ReLU(norm(V x)), where V mixes channels and M bins. Dual paths after Luo, Chen and
    Yoshioka (DPRNN, ICASSP 2020, arXiv 1910.06379), between encoder and decoder of a spectral
    network as Le et al. put them (DPCRN, Interspeech 2021); a product along frequency in place of
    their second recurrence, which would make one bin of a frame wait for another. The state is
    ``[batch, hidden, 1, bins]``.
    """

    def __init__(self, channels: int, bins: int, hidden: int) -> None:
        super().__init__()
        self.recurrence = MinGru(channels, hidden)
        self.leave = nn.Linear(hidden, channels)
        self.enter = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = SharedBatchNorm(channels)
        self.mix = nn.Linear(bins, bins, bias=False)

    def forward(self, sequence: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        batch, channels, time, bins = sequence.shape
        by_bin = sequence.permute(2, 0, 3, 1).reshape(time, batch * bins, channels)
        start = state[:, :, 0].transpose(1, 2).reshape(batch * bins, -1)
        heard = self.recurrence(by_bin, start)
        change = self.leave(heard).view(time, batch, bins, channels).permute(1, 3, 0, 2)
        last = heard[-1].view(batch, bins, -1).transpose(1, 2).unsqueeze(2)
        return self._across(sequence + change), last

    def step(self, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame ``[batch, channels, 1, bins]``."""
        by_bin, past = (value[:, :, 0].transpose(1, 2) for value in (frame, state))
        heard = self.recurrence.step(by_bin, past)
        change = self.leave(heard).transpose(1, 2).unsqueeze(2)
        return self._across(frame + change), heard.transpose(1, 2).unsqueeze(2)

    def _across(self, value: Tensor) -> Tensor:
        return value + self.mix(functional.relu(self.norm(self.enter(value))))


class FullBand(nn.Module):
    """x + W MinGru(x) over whole frames: what all bins have in common. The state is
    ``[batch, hidden, 1, 1]``."""

    def __init__(self, channels: int, bins: int, hidden: int) -> None:
        super().__init__()
        self.bins = bins
        self.recurrence = MinGru(channels * bins, hidden)
        self.leave = nn.Linear(hidden, channels * bins)

    def forward(self, sequence: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        heard = self.recurrence(_flatten(sequence).transpose(0, 1), state[:, :, 0, 0])
        change = _unflatten(self.leave(heard).transpose(0, 1), self.bins)
        return sequence + change, heard[-1][:, :, None, None]

    def step(self, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One frame ``[batch, channels, 1, bins]``."""
        heard = self.recurrence.step(_flatten(frame), state[:, :, 0, 0].unsqueeze(1))
        return frame + _unflatten(self.leave(heard), self.bins), heard[:, 0, :, None, None]


class DualPathBottleneck(Bottleneck):
    """Blocks that remember every bin of the deepest level by itself; few weights, much memory.

    With ``full_band`` a recurrence of so many units hears whole frames after them. The states are
    named ``dual0``, ``dual1``, …, one a block, and ``full``; the latents are the frames that all
    of this leaves, flattened.
    """

    def __init__(
        self, channels: int, bins: int, hidden: int, blocks: int = 2, full_band: int = 0
    ) -> None:
        super().__init__(channels, bins, hidden)
        self.blocks = nn.ModuleList(DualPathBlock(channels, bins, hidden) for _ in range(blocks))
        self.full_band = FullBand(channels, bins, full_band) if full_band else None

    @property
    def width(self) -> int:
        return self.channels * self.bins

    @property
    def stages(self) -> dict[str, DualPathBlock | FullBand]:
        """The blocks, then the full band, under the names of their states."""
        stages: dict[str, DualPathBlock | FullBand] = {
            f"dual{n}": cast(DualPathBlock, block) for n, block in enumerate(self.blocks)
        }
        return stages if self.full_band is None else stages | {"full": self.full_band}

    def initial_states(self, batch: int) -> States:
        device = next(self.parameters()).device

        def zeros(stage: DualPathBlock | FullBand) -> Tensor:
            bins = 1 if isinstance(stage, FullBand) else self.bins
            return torch.zeros((batch, stage.recurrence.hidden, 1, bins), device=device)

        return {name: zeros(stage) for name, stage in self.stages.items()}

    def forward(self, sequence: Tensor, states: States, ahead: int = 0) -> Result:
        value = functional.pad(sequence, (0, 0, 0, ahead))
        following: States = {}
        for name, stage in self.stages.items():
            value, following[name] = stage(value, states[name])
        return self._left(value[:, :, ahead:], following)

    def step(self, frame: Tensor, states: States) -> Result:
        value = frame
        following: States = {}
        for name, stage in self.stages.items():
            value, following[name] = stage.step(value, states[name])
        return self._left(value, following)

    def _left(self, value: Tensor, following: States) -> Result:
        latent = self.latent(_flatten(value))
        return _unflatten(latent, self.bins), following, latent


class BidirectionalGruBottleneck(Bottleneck):
    """Two GRUs, one of them backwards in time: for teachers, which need not stream.

    The latents are twice as wide as ``hidden``. There is no state, and no ``step``.
    """

    def __init__(self, channels: int, bins: int, hidden: int) -> None:
        super().__init__(channels, bins, hidden)
        self.gru = nn.GRU(channels * bins, hidden, batch_first=True, bidirectional=True)
        self.expand = nn.Linear(2 * hidden, channels * bins)

    @property
    def width(self) -> int:
        return 2 * self.hidden

    def initial_states(self, batch: int) -> States:
        return {}

    def forward(self, sequence: Tensor, states: States, ahead: int = 0) -> Result:
        latent = self.latent(self.gru(_flatten(sequence))[0])
        return _unflatten(self.expand(latent), self.bins), {}, latent

    def step(self, frame: Tensor, states: States) -> Result:
        """Raises InputError: what comes later is not known yet."""
        raise InputError(
            "The bottleneck `bigru` hears the whole recording and cannot stream.",
            hint="Use it for a teacher; a student needs `bottleneck: gru`, `tcn` or `dual`.",
        )


def gru_cell(gru: nn.GRU, entry: Tensor, state: Tensor) -> Tensor:
    """The new state ``[…, hidden]`` from one entry ``[…, inputs]``, as matrix products.

    Cho et al. 2014, with the reset gate after the recurrent product as in cuDNN:
    r = σ(W_r x + U_r h), z = σ(W_z x + U_z h), n = tanh(W_n x + r ⊙ U_n h), h' = n + z ⊙ (h − n)
    """
    input_weight, hidden_weight, input_bias, hidden_bias = gru.all_weights[0]
    ir, iz, inew = functional.linear(entry, input_weight, input_bias).chunk(3, dim=-1)
    hr, hz, hnew = functional.linear(state, hidden_weight, hidden_bias).chunk(3, dim=-1)
    reset, update = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
    candidate = torch.tanh(inew + reset * hnew)
    return candidate + update * (state - candidate)


def _flatten(sequence: Tensor) -> Tensor:
    """``[batch, channels, time, bins]`` to ``[batch, time, bins · channels]``."""
    return sequence.permute(0, 2, 3, 1).flatten(2)


def _unflatten(flat: Tensor, bins: int) -> Tensor:
    return flat.unflatten(2, (bins, -1)).permute(0, 3, 1, 2)
