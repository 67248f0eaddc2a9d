"""How much a network computes for one frame."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from distill.unet import UNet
from runtime.stft import FEATURE_CHANNELS


def macs_per_step(network: UNet) -> int:
    """Multiply-accumulates of convolutions and matrix products for one frame.

    Counted by torch while the network takes a step; the exported graph has the same number.
    """
    device = next(network.parameters()).device
    frame = torch.zeros((1, FEATURE_CHANNELS, 1, network.config.bins), device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.step(frame, network.initial_states())
    return counter.get_total_flops() // 2
