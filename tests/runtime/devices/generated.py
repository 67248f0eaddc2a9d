"""Generated models for simulated cores: sources, golden frames from TFLM, labels of operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from distill.unet import UNet, UNetConfig
from export.c.generator import generate
from export.c.model import CModel, read
from export.calibration import calibrate
from export.describe import describe
from export.emission import emit
from export.formats import WIDTHS, Format, Width
from export.lowering import lower
from export.material import Material
from export.precision import wide_everywhere
from export.preparation import Prepared
from export.quantization import quantize_graph
from export.step_graph import StepGraph
from export.students import own_student
from export.tflite import write_float, write_quantized
from export.trained import Trained
from runtime.artefact import Artefact, load_artefact, sidecar_path
from runtime.devices.simulation import GoldenVectors, OperatorLabel
from runtime.engines import engine_from_bytes
from runtime.stft import StftContract

FORMATS = ("int8", "int16x8", "fp32")
NOISE = Material([], [], "white noise", synthetic=True, fingerprint="0" * 64, licences={})


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
    graph = lower(_network(config))
    if format == "fp32":
        return write_float(graph)
    width: Width = "int16x8" if format == "int16x8" else "int8"
    prepared = _prepared(graph, StftContract(bins=config.bins), width)
    return write_quantized(prepared.quantized[width])


def untrained_artefact(
    folder: Path,
    config: UNetConfig,
    format: Format = "c-int8",
    contract: StftContract | None = None,
    name: str = "untrained",
) -> Artefact:
    """The files of such a network in ``folder``, as an export writes them, audio path included."""
    contract = contract or StftContract(bins=config.bins)
    student = own_student(_network(config))
    prepared = _prepared(student.graph, contract, WIDTHS[format]) if format in WIDTHS else None
    emitted = emit(format, student, {} if prepared is None else prepared.quantized, contract)
    sidecar = describe(Trained("student", name, contract, student), emitted, NOISE, prepared)
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / sidecar.model.file
    for source, content in {model.name: emitted.content, **emitted.sources}.items():
        (folder / source).write_bytes(content)
    sidecar_path(model).write_text(sidecar.model_dump_json(by_alias=True))
    return load_artefact(model)


def _network(config: UNetConfig) -> UNet:
    torch.manual_seed(0)
    network = UNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return network.eval()


def _prepared(graph: StepGraph, contract: StftContract, width: Width) -> Prepared:
    noise = np.random.default_rng(0).normal(0.0, 0.1, (2, 8_000)).astype(np.float32)
    calibration = calibrate(graph, contract, list(noise))
    wide = wide_everywhere(graph) if width == "int16x8" else ()
    return Prepared(graph, calibration, {width: quantize_graph(graph, calibration, wide)})


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
