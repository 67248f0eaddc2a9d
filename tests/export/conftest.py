"""Networks and signals the export tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from distill.bands import Bands
from distill.checkpoint import CheckpointRecord, save_checkpoint
from distill.mixing import Mixture
from distill.unet import MASK_CHANNELS, UNet, UNetConfig
from export.calibration import Calibration, calibrate
from export.lowering import lower
from export.material import Material
from export.onnx import write_onnx
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import StepGraph
from export.students import own_student
from export.tflite import write_float, write_quantized
from runtime.stft import StftContract

SMALL = UNetConfig(bins=64, widths=(6, 8, 10), hidden=12)
BANDS = Bands(count=32)
# What a network may be beside SMALL: each has operators or tensors that SMALL lacks.
KINDS: dict[str, dict[str, Any]] = {
    "real mask": {"mask": "real"},
    "bands": {"bands": BANDS},
    "bands, real mask": {"bands": BANDS, "mask": "real"},
    "temporal convolution": {"bottleneck": "tcn"},
    "dual path": {"bottleneck": "dual"},
    "dual path, full band": {"bottleneck": "dual", "blocks": 1, "full_band": 8},
    "three frames": {"kernel_time": 3},
}
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


def spectral_gate(config: UNetConfig = SMALL) -> UNet:
    """A network that denoises without training: it keeps bins whose magnitude is large.

    Encoder and decoder in between stay random; the first level copies the magnitudes of its four
    bins to the skip, and the last convolution turns them into a mask that opens with level.
    """
    network = randomised(config)
    values = network.state_dict()
    weight = torch.zeros_like(values["encoder.0.conv.weight"])  # [6, 3, 1, 8]
    mask_weight = torch.zeros_like(values["decoder.2.conv.weight"])
    channels = MASK_CHANNELS[config.mask]
    for bin_ in range(4):
        weight[bin_, 0, 0, bin_ + 2] = 1.0  # two bins lie before the patch
        mask_weight[channels * bin_, bin_, 0, 1] = 3.0
    changed = {
        "encoder.0.conv.weight": weight,
        "encoder.0.norm.weight": torch.ones(6),
        "encoder.0.norm.bias": torch.zeros(6),
        "encoder.0.norm.running_mean": torch.zeros(6),
        "encoder.0.norm.running_var": torch.ones(6),
        # What comes from below only colours the mask.
        "decoder.1.norm.weight": 0.05 * values["decoder.1.norm.weight"],
        "decoder.1.norm.bias": 0.05 * values["decoder.1.norm.bias"],
        "decoder.2.conv.weight": mask_weight,
        "decoder.2.conv.bias": torch.tensor([-1.5, 0.0][:channels] * 4),
    }
    network.load_state_dict(values | changed)
    return network


def _tone_mixture(seed: int, seconds: float) -> Mixture:
    """A voice-like sum of harmonics with pauses, under white noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch = rng.uniform(100, 250)
    voice = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 7))
    clean = 0.08 * np.asarray(voice) * (np.sin(2 * np.pi * 1.5 * time + seed) > 0)
    noise = 0.02 * rng.normal(size=len(time))
    noisy = (clean + noise).astype(np.float32)
    return Mixture(noisy, clean.astype(np.float32), 10.0, "tones", "white")


@pytest.fixture(scope="session")
def material() -> Material:
    return Material(
        calibration=[_tone_mixture(seed, 1.0).noisy for seed in range(8)],
        held_out=[_tone_mixture(100 + seed, 1.5) for seed in range(2)],
        source="tones",
        synthetic=True,
        fingerprint="0" * 64,
        licences={"CC0-1.0": "12 clips"},
    )


def _saved(folder: Path, network: UNet) -> Path:
    record = CheckpointRecord(
        role="student",
        preset="test",
        architecture=network.config,
        contract=CONTRACT,
        data="demo",
        recipe={},
        provenance={"recipe_sha256": "1" * 64},
    )
    save_checkpoint(folder / "student", network, record)
    return folder


@pytest.fixture(scope="session")
def save_run() -> Callable[[Path], Path]:
    """Saves a run whose student denoises."""
    return lambda folder: _saved(folder, spectral_gate())


@pytest.fixture(scope="session", params=list(KINDS))
def kind_config(request: pytest.FixtureRequest) -> UNetConfig:
    """The configuration of a small network of every kind that can be exported."""
    return SMALL.model_copy(update=KINDS[request.param])


@pytest.fixture
def save_kind(tmp_path: Path) -> Callable[[UNetConfig], Path]:
    """Saves a run whose student has this configuration and denoises."""
    return lambda config: _saved(tmp_path / "run", spectral_gate(config))


@pytest.fixture
def short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the frames: what the gates measure is tested elsewhere, over all of them."""
    monkeypatch.setattr("export.verify.PARITY_FRAMES", 100)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run whose student denoises."""
    return _saved(tmp_path / "run", spectral_gate())


@pytest.fixture
def poor_run_folder(tmp_path: Path) -> Path:
    """A run whose student makes things worse: its random mask does not even pass the input."""
    network = randomised()
    values = network.state_dict()
    values["decoder.2.conv.bias"] = torch.zeros_like(values["decoder.2.conv.bias"])
    network.load_state_dict(values)
    return _saved(tmp_path / "poor", network)


@pytest.fixture(scope="session")
def float_file(graph: StepGraph) -> bytes:
    return write_float(graph)


@pytest.fixture(scope="session")
def int8_file(quantized: QuantizedGraph) -> bytes:
    return write_quantized(quantized)


@pytest.fixture(scope="session")
def onnx_file(make_network: Callable[..., UNet], graph: StepGraph) -> bytes:
    return write_onnx(own_student(make_network()))
