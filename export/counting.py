"""Work of a network that has no step graph, counted while it runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from distill.tracing import FRAMES, OTHER_FRAMES, Example, evaluating


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def macs_per_frame(network: nn.Module, example: Example) -> int:
    """Multiply-accumulates of convolutions and matrix products for one more frame of input.

    Whatever the network's forward raises is raised here.
    """
    shorter, longer = (_macs(network, example(frames)) for frames in (FRAMES, OTHER_FRAMES))
    return round((longer - shorter) / (OTHER_FRAMES - FRAMES))


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """oneDNN runs a whole LSTM as one operator that the counter does not know."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TF32 acceleration")  # of Intel GPUs
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _macs(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> int:
    device = next(iter(network.parameters()), torch.empty(0)).device
    counter = FlopCounterMode(display=False)
    with evaluating(network), torch.no_grad(), _plain_kernels(), counter:
        network(*(torch.zeros_like(value, device=device) for value in inputs))
    return int(counter.get_total_flops()) // 2
