"""Networks and signals the export tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from distill.unet import UNet, UNetConfig
from export.calibration import Calibration, calibrate
from export.lowering import lower
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import StepGraph
from runtime.stft import StftContract

SMALL = UNetConfig(bins=64, widths=(6, 8, 10), hidden=12)
CONTRACT = StftContract(bins=64)

MakeNetwork = Callable[..., UNet]


def randomised(config: UNetConfig = SMALL, seed: int = 0) -> UNet:
    """An untrained network whose batch norms are far from the identity."""
    torch.manual_seed(seed)
    network = UNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.3, 2.0)
    return network.eval()


@pytest.fixture(scope="session")
def make_network() -> MakeNetwork:
    return randomised


@pytest.fixture
def network() -> UNet:
    return randomised()


@pytest.fixture(scope="session")
def graph() -> StepGraph:
    return lower(randomised())


@pytest.fixture(scope="session")
def contract() -> StftContract:
    return CONTRACT


@pytest.fixture(scope="session")
def signals() -> list[npt.NDArray[np.float32]]:
    """Eight seconds of noise under slow, speech-like envelopes."""
    rng = np.random.default_rng(0)
    ramp = np.arange(16_000)
    envelopes = (0.1 + np.abs(np.sin(ramp / (1_500 + 200 * k))) for k in range(8))
    return [(0.1 * e * rng.normal(size=len(ramp))).astype(np.float32) for e in envelopes]


@pytest.fixture(scope="session")
def calibration(graph: StepGraph, signals: list[npt.NDArray[np.float32]]) -> Calibration:
    return calibrate(graph, CONTRACT, signals)


@pytest.fixture(scope="session")
def quantized(graph: StepGraph, calibration: Calibration) -> QuantizedGraph:
    return quantize_graph(graph, calibration)


@pytest.fixture(scope="session")
def random_features() -> npt.NDArray[np.float32]:
    """Features ``[4, 40, 64, 3]`` of four streams."""
    return np.random.default_rng(1).normal(size=(4, 40, 64, 3)).astype(np.float32)
