"""Foreign students with weights as training might leave them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from tests.export.foreign.dtln_like import DtlnLike
from tests.export.foreign.gtcrn_like import GtcrnLike
from tests.export.foreign.tcn import Tcn

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "gtcrn-like": GtcrnLike,
    "dtln-like": DtlnLike,
    "tcn": Tcn,
}


def foreign(name: str) -> nn.Module:
    """An untrained network whose norms are far from the identity and whose slopes all differ."""
    torch.manual_seed(0)
    network = ARCHITECTURES[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.5)
    return network.eval().requires_grad_(False)
