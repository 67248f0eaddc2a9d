"""One check for every format, and of a file together with its sidecar."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from runtime.artefact import Artefact, TensorSpec
from runtime.modelfile.onnx import OnnxPort, check_onnx
from runtime.modelfile.refusal import ModelRefused
from runtime.modelfile.tflite import check_tflite
from runtime.modelfile.tflite_tensors import TfliteTensor


class Interface(NamedTuple):
    """Inputs and outputs of a file, in its order."""

    inputs: tuple[TfliteTensor | OnnxPort, ...]
    outputs: tuple[TfliteTensor | OnnxPort, ...]


def check_model(content: bytes, suffix: str, name: str = "The model") -> Interface | None:
    """Refuse the bytes of a model file that is damaged, hostile, or beyond any denoiser.

    ``suffix`` is ``.tflite`` or ``.onnx``, ``name`` begins the sentence of a refusal. Source code
    is no data and cannot be checked: other suffixes give None. Raises ModelRefused.
    """
    if suffix == ".tflite":
        file = check_tflite(content, name)
        return Interface(
            tuple(file.tensors[index] for index in file.inputs),
            tuple(file.tensors[index] for index in file.outputs),
        )
    if suffix == ".onnx":
        graph = check_onnx(content, name)
        return Interface(graph.inputs, graph.outputs)
    return None


def checked_bytes(artefact: Artefact) -> bytes:
    """The bytes of an artefact's model, sound and such as its sidecar describes them.

    Raises ModelRefused.
    """
    name = artefact.path.name
    content = artefact.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != artefact.sidecar.model.sha256:
        raise ModelRefused(
            f"{name} is not the file its sidecar describes (SHA-256 differs).",
            hint="It was altered: copy or export it again.",
        )
    interface = check_model(content, artefact.path.suffix.lower(), name)
    if interface is not None:
        _check_specs(name, interface.inputs, artefact.sidecar.inputs)
        _check_specs(name, interface.outputs, artefact.sidecar.outputs)
    return content


def _check_specs(
    name: str, found: tuple[TfliteTensor | OnnxPort, ...], specs: tuple[TensorSpec, ...]
) -> None:
    """The model must have the tensors its sidecar lists, in that order, stored as it says."""
    agree = len(found) == len(specs) and all(
        (port.name, port.shape, port.dtype) == (spec.name, spec.shape, spec.dtype)
        for port, spec in zip(found, specs, strict=True)
    )
    if not agree:
        raise ModelRefused(
            f"{name} has other inputs or outputs than its sidecar lists.",
            hint="The two do not belong together: export the model again.",
        )
    for port, spec in zip(found, specs, strict=True):
        if isinstance(port, TfliteTensor) and not _same_scale(port, spec):
            raise ModelRefused(
                f"{name} stores {spec.name} with another scale than its sidecar says.",
                hint="The two do not belong together: export the model again.",
            )


def _same_scale(tensor: TfliteTensor, spec: TensorSpec) -> bool:
    if spec.scale is None:
        return not tensor.scales
    return (
        bool(tensor.scales)
        and np.float32(spec.scale) == np.float32(tensor.scales[0])
        and (spec.zero_point or 0) == tensor.zero_points[0]
    )
