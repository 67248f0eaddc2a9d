"""Batch norm whose training statistics cover the batches of all processes.

``torch.nn.SyncBatchNorm`` does this on CUDA only; here gloo on the processor works as well, so
that several processes train to the same weights as one with the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


class SharedBatchNorm(nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` for ``[batch, channels, time, frequency]``.

    While training with ``torch.distributed`` initialised for more than one process, mean and
    variance are those of the frames of all processes, and gradients flow through them to all.
    Otherwise it is ``BatchNorm2d``, and its state dict always is.
    """

    def forward(self, sequence: Tensor) -> Tensor:
        if not self.training or _processes() == 1:
            return super().forward(sequence)
        mean, variance, count = _moments(sequence.float())
        self._track(mean.detach(), variance.detach(), count)
        centred = sequence.float() - mean.view(1, -1, 1, 1)
        gain = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * gain.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(sequence.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, with the unbiased variance, as ``BatchNorm2d`` does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1.0).clamp(min=1.0), self.momentum)


def _moments(sequence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance per channel over all processes, and the number of values.

    In two rounds: the mean of squares less the squared mean would cancel digits.
    """
    own = torch.full((1,), sequence.numel() / sequence.shape[1], device=sequence.device)
    sums = _over_processes(torch.cat((sequence.sum(dim=(0, 2, 3)), own)))
    count = sums[-1:].detach()
    mean = sums[:-1] / count
    squares = (sequence - mean.view(1, -1, 1, 1)).square().sum(dim=(0, 2, 3))
    return mean, _over_processes(squares) / count, count


def _over_processes(value: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(value)  # type: ignore[no-untyped-call]
    return total


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes; each one's gradient reaches all of them."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _processes() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
