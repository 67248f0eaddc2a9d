"""The sound models that the corpus damages: small, from our own writer, each with its sidecar."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from distill.unet import UNetConfig
from export.calibration import calibrate
from export.lowering import lower
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import StepGraph, Tensor
from export.tflite import write_float, write_quantized
from runtime.artefact import ModelFile, Network, Sidecar, StateSpec, TensorSpec
from runtime.stft import StftContract
from tests.export.conftest import randomised
from tests.runtime.tiny_models import Kernel, onnx_bytes, tiny_sidecar

CONTRACT = StftContract(bins=32)
CONFIG = UNetConfig(bins=32, widths=(4, 6), hidden=8)


@dataclass(frozen=True)
class Base:
    """A model that runs, and what its sidecar says of any model of that interface."""

    name: str
    suffix: str
    content: bytes = field(repr=False)
    described: str = field(repr=False)

    def sidecar(self, content: bytes) -> dict[str, Any]:
        """The sidecar that vouches for ``content``, as whoever altered a model would write it."""
        record: dict[str, Any] = json.loads(self.described)
        digest = hashlib.sha256(content).hexdigest()
        record["model"] = {
            "file": f"model{self.suffix}",
            "bytes": len(content),
            "sha256": digest,
        }
        return record


@cache
def bases() -> dict[str, Base]:
    """``float`` and ``int8`` (.tflite), and ``onnx``."""
    graph = lower(randomised(CONFIG))
    noise = np.random.default_rng(0).normal(size=(4, 8000)).astype(np.float32)
    quantized = quantize_graph(graph, calibrate(graph, CONTRACT, list(0.1 * noise)))
    onnx = onnx_bytes(CONTRACT, Kernel())
    described = tiny_sidecar(CONTRACT, "onnx-fp32", "model.onnx", onnx)
    return {
        "float": _tflite("float", write_float(graph), graph, None),
        "int8": _tflite("int8", write_quantized(quantized), graph, quantized),
        "onnx": Base("onnx", ".onnx", onnx, described.model_dump_json(by_alias=True)),
    }


def _tflite(name: str, content: bytes, graph: StepGraph, quantized: QuantizedGraph | None) -> Base:
    def spec(tensor: Tensor) -> TensorSpec:
        if quantized is None:
            return TensorSpec(name=tensor.name, shape=tensor.shape)
        affine = quantized.activations[tensor.name]
        return TensorSpec(
            name=tensor.name,
            shape=tensor.shape,
            dtype="int8",
            scale=affine.scale,
            zero_point=affine.zero_point,
        )

    sidecar = Sidecar(
        name="base",
        target=f"tflite-{'fp32' if quantized is None else 'int8'}",
        model=ModelFile(file="model.tflite", bytes=0, sha256=""),
        contract=CONTRACT,
        inputs=tuple(map(spec, graph.inputs)),
        outputs=tuple(map(spec, graph.outputs)),
        states=tuple(
            StateSpec(name=s.name, input=s.input.name, output=s.output.name) for s in graph.states
        ),
        network=Network(preset="base", parameters=1000, macs_per_step=10_000),
        operators={"CONV_2D": 10},
        tools={"sordino": "0"},
    )
    return Base(name, ".tflite", content, sidecar.model_dump_json(by_alias=True))
