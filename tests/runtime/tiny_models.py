"""Tiny step models, written by hand, so that the runtime is tested without the exporter.

Every model computes, per frequency bin, with one remembered frame::

    memory' = features
    mask    = bias + kernel[0] · memory + kernel[1] · features

With the default kernel of zeros and bias (1, 0) the mask is the identity.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from runtime.artefact import (
    Artefact,
    ModelFile,
    Network,
    Sidecar,
    StateSpec,
    TensorSpec,
    load_artefact,
    sidecar_path,
)
from runtime.stft import StftContract

Format = Literal["onnx-fp32", "tflite-fp32", "tflite-int8"]
FEATURE_SCALE, FEATURE_ZERO = 1.0 / 32.0, -20
MASK_SCALE, MASK_ZERO = 1.0 / 127.0, 0
WEIGHT_SCALE = 1.0 / 128.0
IDENTITY = (1.0, 0.0)


class Kernel:
    """``weight`` is ``[2 mask, 2 time, 1, 3 feature]``, ``bias`` ``[2]``."""

    def __init__(
        self,
        bias: tuple[float, float] = IDENTITY,
        weight: npt.NDArray[np.float32] | None = None,
    ) -> None:
        zeros = np.zeros((2, 2, 1, 3), dtype=np.float32)
        self.weight = zeros if weight is None else weight.astype(np.float32)
        self.bias = np.asarray(bias, dtype=np.float32)


def copy_weight() -> npt.NDArray[np.float32]:
    return np.eye(3, dtype=np.float32).reshape(3, 1, 1, 3)


def onnx_bytes(contract: StftContract, kernel: Kernel) -> bytes:
    """The model in ONNX: channels last outside, channels first around the convolution."""
    from onnx import TensorProto, helper, numpy_helper

    bins = contract.bins
    nodes = [
        helper.make_node("Concat", ["memory_in", "features"], ["both"], axis=1),
        helper.make_node("Transpose", ["both"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weight", "bias"], ["wide"]),
        helper.make_node("Transpose", ["wide"], ["mask"], perm=[0, 2, 3, 1]),
        helper.make_node("Identity", ["features"], ["memory_out"]),
    ]
    weight = np.ascontiguousarray(kernel.weight.transpose(0, 3, 1, 2))

    def value(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, bins, channels])

    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("features", 3), value("memory_in", 3)],
        [value("mask", 2), value("memory_out", 3)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(kernel.bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def tflite_bytes(contract: StftContract, kernel: Kernel, *, quantized: bool) -> bytes:
    """The model as a TFLite flatbuffer, float or int8."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    bins = contract.bins
    model = schema.ModelT()
    model.version = 3
    model.description = "tiny"
    model.buffers = [schema.BufferT()]
    tensors: list[object] = []
    kind = schema.TensorType.INT8 if quantized else schema.TensorType.FLOAT32

    def tensor(
        name: str,
        shape: tuple[int, ...],
        scales: list[float],
        zero: int,
        data: npt.NDArray[np.generic] | None = None,
    ) -> int:
        entry = schema.TensorT()
        entry.name, entry.shape, entry.type, entry.buffer = name, list(shape), kind, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), dtype=np.uint8)
            model.buffers.append(buffer)
            entry.buffer = len(model.buffers) - 1
            if data.dtype == np.int32:
                entry.type = schema.TensorType.INT32
        if quantized:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.asarray(scales, dtype=np.float32)
            quantization.zeroPoint = np.asarray([zero] * len(scales), dtype=np.int64)
            entry.quantization = quantization
        tensors.append(entry)
        return len(tensors) - 1

    def constant(
        name: str, values: npt.NDArray[np.float32], scale: float, dtype: type[np.generic]
    ) -> int:
        """Quantized per output channel, as a converter would."""
        stored = np.rint(values / scale).astype(dtype) if quantized else values
        return tensor(name, values.shape, [scale] * len(values), 0, stored)

    def operator(code: int, options: object, kind: int, inputs: list[int], out: int) -> object:
        entry = schema.OperatorT()
        entry.opcodeIndex, entry.inputs, entry.outputs = code, inputs, [out]
        entry.builtinOptions, entry.builtinOptionsType = options, kind
        return entry

    def convolution(source: int, name: str, weight: npt.NDArray[np.float32],
                    bias: npt.NDArray[np.float32], out: int) -> object:  # fmt: skip
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideH = options.strideW = 1
        options.dilationHFactor = options.dilationWFactor = 1
        scale = WEIGHT_SCALE * FEATURE_SCALE
        inputs = [
            source,
            constant(f"{name}_weight", weight, WEIGHT_SCALE, np.int8),
            constant(f"{name}_bias", bias, scale, np.int32),
        ]
        return operator(0, options, schema.BuiltinOptions.Conv2DOptions, inputs, out)

    features = tensor("features", (1, 1, bins, 3), [FEATURE_SCALE], FEATURE_ZERO)
    memory = tensor("memory_in", (1, 1, bins, 3), [FEATURE_SCALE], FEATURE_ZERO)
    both = tensor("both", (1, 2, bins, 3), [FEATURE_SCALE], FEATURE_ZERO)
    mask = tensor("mask", (1, 1, bins, 2), [MASK_SCALE], MASK_ZERO)
    following = tensor("memory_out", (1, 1, bins, 3), [FEATURE_SCALE], FEATURE_ZERO)
    concat = schema.ConcatenationOptionsT()
    concat.axis = 1
    # int8 weights reach 127/128 at most: the copied feature loses under one step.
    copy = np.minimum(copy_weight(), 127 * WEIGHT_SCALE if quantized else 1.0)
    graph = schema.SubGraphT()
    graph.name = "step"
    graph.tensors, graph.inputs, graph.outputs = tensors, [features, memory], [mask, following]
    options = schema.BuiltinOptions.ConcatenationOptions
    graph.operators = [
        operator(1, concat, options, [memory, features], both),
        convolution(both, "mask", kernel.weight, kernel.bias, mask),
        convolution(features, "copy", copy.astype(np.float32), np.zeros(3, np.float32), following),
    ]
    model.subgraphs = [graph]
    model.operatorCodes = []
    for builtin, version in (("CONV_2D", 3 if quantized else 1), ("CONCATENATION", 1)):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, builtin)
        code.version = version
        model.operatorCodes.append(code)
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def specs(
    contract: StftContract, target: Format, mask_channels: int = 2
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of the sidecar."""

    def spec(name: str, channels: int, scale: float, zero: int) -> TensorSpec:
        shape = (1, 1, contract.bins, channels)
        if target != "tflite-int8":
            return TensorSpec(name=name, shape=shape)
        return TensorSpec(name=name, shape=shape, dtype="int8", scale=scale, zero_point=zero)

    remembered = [spec(n, 3, FEATURE_SCALE, FEATURE_ZERO) for n in ("memory_in", "memory_out")]
    features = spec("features", 3, FEATURE_SCALE, FEATURE_ZERO)
    mask = spec("mask", mask_channels, MASK_SCALE, MASK_ZERO)
    return (features, remembered[0]), (mask, remembered[1])


def tiny_sidecar(
    contract: StftContract,
    target: Format,
    file: str = "model",
    content: bytes = b"",
    mask_channels: int = 2,
) -> Sidecar:
    inputs, outputs = specs(contract, target, mask_channels)
    return Sidecar(
        name="tiny",
        target=target,
        model=ModelFile(file=file, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()),
        contract=contract,
        inputs=inputs,
        outputs=outputs,
        states=(StateSpec(name="memory", input="memory_in", output="memory_out"),),
        network=Network(preset="tiny", parameters=25, macs_per_step=contract.bins * 21),
        operators={"CONV_2D": 2, "CONCATENATION": 1},
        tools={"sordino": "0"},
    )


def model_bytes(contract: StftContract, target: Format, kernel: Kernel) -> bytes:
    if target == "onnx-fp32":
        return onnx_bytes(contract, kernel)
    return tflite_bytes(contract, kernel, quantized=target == "tflite-int8")


def write_artefact(
    folder: Path,
    target: Format = "tflite-fp32",
    kernel: Kernel | None = None,
    contract: StftContract | None = None,
) -> Artefact:
    """Write a tiny model and its sidecar into ``folder`` and open them."""
    contract = contract or StftContract()
    content = model_bytes(contract, target, kernel or Kernel())
    suffix = ".onnx" if target == "onnx-fp32" else ".tflite"
    path = folder / f"tiny-{target}{suffix}"
    path.write_bytes(content)
    sidecar = tiny_sidecar(contract, target, path.name, content)
    sidecar_path(path).write_text(sidecar.model_dump_json(by_alias=True, indent=2))
    return load_artefact(path)
