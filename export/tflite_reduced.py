"""TFLite files whose weights are small and whose arithmetic is float32.

A weight lies in the file as float16, or as int8 with one scale per output channel, and a
DEQUANTIZE makes float32 of it. LiteRT unpacks such constants once, when it loads the model, on
XNNPACK as on its reference kernels, so a step costs what a float32 step costs and only the file
is smaller. Convolutions that read int8 weights directly beside float32 activations (LiteRT's
hybrid kernels) would round the activations to int8 too, at every step and by that step's range.

TFLM runs neither: its DEQUANTIZE knows no float16, and of per-channel scales it would take the
first for all channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export.quantization import SMALLEST_SPAN, WEIGHT_LIMIT
from export.step_graph import StepGraph, Weights
from export.tflite import Writer, tensor_record
from targets.errors import InputError

LARGEST_HALF = float(np.finfo(np.float16).max)
FLOAT16_VERSION = 3  # of DEQUANTIZE, the first that takes float16
PER_CHANNEL_VERSION = 5  # the first that takes a scale per channel


def write_fp16(graph: StepGraph) -> bytes:
    """The file with float16 weights; biases and fixed operands stay float32.

    Raises InputError for a weight beyond float16.
    """
    for operator in graph.weighted:
        if float(np.abs(operator.weight).max(initial=0.0)) > LARGEST_HALF:
            raise InputError(
                f"A weight of {operator.output.name} does not fit in float16.",
                hint="Export tflite-fp32 or tflite-int8w instead.",
            )
    return _HalfWriter(graph).file()


def write_int8_weights(graph: StepGraph) -> bytes:
    """The file with int8 weights, symmetric per output channel, and float32 activations."""
    return _ByteWriter(graph).file()


class _HalfWriter(Writer):
    def float_weight(self, name: str, weight: Weights, axis: int) -> int:
        stored = self.constant(f"{name}/float16", weight.astype(np.float16))
        return _unpacked(self, name, weight, stored, FLOAT16_VERSION)


class _ByteWriter(Writer):
    def float_weight(self, name: str, weight: Weights, axis: int) -> int:
        steps, scales = quantize_channels(weight, axis)
        stored = self.constant(f"{name}/int8", steps, scales.tolist(), axis)
        return _unpacked(self, name, weight, stored, PER_CHANNEL_VERSION)


def quantize_channels(
    weight: Weights, axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Steps and scales, one per index of ``axis``; without biases nothing bounds a scale below."""
    others = tuple(one for one in range(weight.ndim) if one != axis)
    reach = np.abs(weight).max(axis=others, keepdims=True, initial=0.0)
    scales = np.maximum(reach, np.float32(SMALLEST_SPAN)) / np.float32(WEIGHT_LIMIT)
    steps = np.clip(np.rint(weight / scales), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return steps.astype(np.int8), scales.astype(np.float32).reshape(-1)


def _unpacked(writer: Writer, name: str, weight: Weights, stored: int, version: int) -> int:
    """A DEQUANTIZE of the stored constant; returns the tensor it writes."""
    record = writer.compute(schema.BuiltinOperator.DEQUANTIZE, version, [stored])
    output = writer.append(tensor_record(name, weight.shape, schema.TensorType.FLOAT32))
    record.outputs = [output]
    return output
