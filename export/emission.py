"""One model file per format, written in memory from the step graph."""

from __future__ import annotations

from collections.abc import Mapping

from distill.unet import UNet
from export.formats import Emitted, Format
from export.onnx import write_onnx
from export.quantization import QuantizedGraph
from export.step_graph import StepGraph
from export.tflite import write_float, write_quantized
from export.tflite_reduced import write_fp16, write_int8_weights


def emit(
    format: Format,
    network: UNet,
    graph: StepGraph,
    quantized: Mapping[Format, QuantizedGraph],
) -> Emitted:
    """The file of a network in ``format``; an integer one needs its ``quantized`` graph.

    ``graph`` is that of the float files.
    """
    match format:
        case "tflite-int8" | "tflite-int16x8":
            return Emitted(format, write_quantized(quantized[format]), quantized[format])
        case "tflite-fp32":
            return Emitted(format, write_float(graph))
        case "tflite-fp16":
            return Emitted(format, write_fp16(graph))
        case "tflite-int8w":
            return Emitted(format, write_int8_weights(graph))
        case "onnx-fp32":
            return Emitted(format, write_onnx(network, graph))
