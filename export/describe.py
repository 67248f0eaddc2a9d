"""The sidecar of a model file: all a denoiser needs to know, and where the file came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata

from export.formats import Emitted, suffix
from export.gates.onnx_structure import onnx_operator_counts
from export.gates.tflite_file import read_model
from export.material import Material
from export.preparation import Prepared
from export.step_graph import Tensor
from export.trained import Trained
from runtime.artefact import C_MODEL, GateResult, ModelFile, Network, Sidecar, StateSpec, TensorSpec

TOOLS = (
    "sordino",
    "torch",
    "numpy",
    "ai-edge-litert",
    "flatbuffers",
    "tflite-micro",
    "onnx",
    "onnxscript",
    "onnxsim",
    "onnxruntime",
    "pesq",
    "pystoi",
)


def describe(
    trained: Trained,
    emitted: Emitted,
    material: Material,
    prepared: Prepared | None,
    gates: Sequence[GateResult] = (),
    scores: dict[str, dict[str, float]] | None = None,
) -> Sidecar:
    """The sidecar of an emitted model; ``prepared`` only for a quantized one."""
    graph = trained.student.graph
    name = f"{trained.role}-{emitted.format}"
    return Sidecar(
        name=name,
        target=emitted.format,
        model=_file(C_MODEL if emitted.origin else name + suffix(emitted.format), emitted.content),
        sources=tuple(_file(source, content) for source, content in emitted.sources.items()),
        contract=trained.contract,
        inputs=tuple(_spec(tensor, emitted) for tensor in graph.inputs),
        outputs=tuple(_spec(tensor, emitted) for tensor in graph.outputs),
        states=tuple(
            StateSpec(name=state.name, input=state.input.name, output=state.output.name)
            for state in graph.states
        ),
        network=Network(
            preset=trained.preset, parameters=graph.parameters, macs_per_step=graph.macs
        ),
        quantization={} if prepared is None else _quantization(emitted, prepared, material),
        operators=_operators(emitted),
        memory=dict(emitted.memory),
        tools=_versions(),
        provenance=_provenance(trained, material),
        gates=tuple(gates),
        scores=scores or {},
    )


def _file(name: str, content: bytes) -> ModelFile:
    return ModelFile(file=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _spec(tensor: Tensor, emitted: Emitted) -> TensorSpec:
    if emitted.quantized is None or emitted.format.startswith("onnx"):  # QDQ: float32 outside
        return TensorSpec(name=tensor.name, shape=tensor.shape)
    affine = emitted.quantized.activations[tensor.name]
    return TensorSpec(
        name=tensor.name,
        shape=tensor.shape,
        dtype=affine.precision,
        scale=affine.scale,
        zero_point=affine.zero_point,
    )


def _quantization(
    emitted: Emitted, prepared: Prepared, material: Material
) -> dict[str, str | int | float]:
    wide = emitted.quantized.wide if emitted.quantized is not None else frozenset()
    kinds = {
        affine.precision
        for affine in (emitted.quantized.activations.values() if emitted.quantized else ())
    }
    widths = {"int8": "int8, per tensor, asymmetric", "int16": "int16, per tensor, symmetric"}
    return {
        "activations": "; ".join(widths[kind] for kind in sorted(kinds, reverse=True)),
        "tensors_in_int16": len(wide),
        "weights": "int8, per channel, symmetric, ±127",
        "biases": "int64 beside int16 activations" if wide else "int32",
        **prepared.notes,
        "calibration_data": material.source,
        "calibration_frames": prepared.calibration.frames,
        "calibration_sha256": prepared.calibration.sha256,
    }


def _operators(emitted: Emitted) -> dict[str, int]:
    if emitted.format.startswith("onnx"):
        return onnx_operator_counts(emitted.content)
    return read_model(emitted.origin or emitted.content).operator_counts()


def _provenance(trained: Trained, material: Material) -> dict[str, str]:
    licences = "; ".join(f"{name}: {count}" for name, count in material.licences.items())
    return {
        **trained.provenance,
        "export_data": material.source,
        "export_data_sha256": material.fingerprint,
        "export_data_synthetic": "yes" if material.synthetic else "no",
        "export_data_licences": licences,
    }


def _versions() -> dict[str, str]:
    """Package → version of every tool that is installed here."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
