"""Generated models for simulated cores: sources, golden frames from TFLM, labels of operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from distill.unet import UNet, UNetConfig
from export.c.generator import generate
from export.c.model import CModel, read
from export.calibration import calibrate
from export.lowering import lower
from export.precision import wide_everywhere
from export.quantization import quantize_graph
from export.tflite import write_float, write_quantized
from runtime.devices.simulation import GoldenVectors, OperatorLabel
from runtime.engines import engine_from_bytes
from runtime.stft import StftContract

FORMATS = ("int8", "int16x8", "fp32")


@dataclass(frozen=True, eq=False)
class Generated:
    """What :func:`runtime.devices.bare_metal.simulate` takes, and the work of a step."""

    sources: Mapping[str, bytes]
    vectors: GoldenVectors
    labels: tuple[OperatorLabel, ...]
    macs: int


def untrained(config: UNetConfig, format: str) -> bytes:
    """A TFLite file of a network that learned nothing: its work is that of a trained one.

    Batch norms are random and ranges come from half a second of noise, so that values spread.
    """
    torch.manual_seed(0)
    network = UNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
    graph = lower(network.eval())
    if format == "fp32":
        return write_float(graph)
    noise = np.random.default_rng(0).normal(0.0, 0.1, (2, 8_000)).astype(np.float32)
    calibration = calibrate(graph, StftContract(bins=config.bins), list(noise))
    wide = wide_everywhere(graph) if format == "int16x8" else ()
    return write_quantized(quantize_graph(graph, calibration, wide))


def generated(model: bytes, frames: int) -> Generated:
    """The C of a TFLite file with one input and one output, and ``frames`` frames of TFLM's."""
    source = generate(model)
    return Generated(
        sources=source.files,
        vectors=golden(model, frames),
        labels=tuple(
            OperatorLabel(entry.step, entry.operator, entry.output, entry.macs)
            for entry in source.operators
        ),
        macs=source.macs,
    )


def golden(model: bytes, frames: int) -> GoldenVectors:
    """Random features through TFLM, states carried; stored values."""
    read_model = read(model)
    engine = engine_from_bytes("tflm", model)
    names = [port.name for port in engine_from_bytes("litert-reference", model).inputs]
    outputs = [port.name for port in engine_from_bytes("litert-reference", model).outputs]
    current = [_zero(read_model, name) for name in names]
    features = _features(read_model, frames)
    entry = names.index(read_model.tensors[read_model.inputs[0]].name)
    exit_ = outputs.index(read_model.tensors[read_model.outputs[0]].name)
    links = [
        (
            names.index(read_model.tensors[state.input].name),
            outputs.index(read_model.tensors[state.output].name),
        )
        for state in read_model.states
    ]
    masks = []
    for frame in features:
        current[entry] = frame.reshape(current[entry].shape)
        results = engine.run(current)
        masks.append(results[exit_].reshape(-1))
        for before, after in links:
            current[before] = results[after]
    return GoldenVectors(features, np.stack(masks))


def _zero(model: CModel, name: str | None) -> npt.NDArray[Any]:
    tensor = next(tensor for tensor in model.tensors if tensor.name == name)
    zero = tensor.zero_points[0] if tensor.zero_points else 0
    return np.full(tensor.shape, zero, tensor.dtype)


def _features(model: CModel, frames: int) -> npt.NDArray[Any]:
    tensor = model.tensors[model.inputs[0]]
    noise = np.random.default_rng(1).normal(size=(frames, tensor.elements))
    if tensor.dtype == "float32":
        return noise.astype(np.float32)
    limits = np.iinfo(tensor.dtype)
    return np.clip(np.rint(0.3 * limits.max * noise), limits.min, limits.max).astype(tensor.dtype)
