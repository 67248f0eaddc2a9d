"""One model file per format, written in memory from the step graph."""

from __future__ import annotations

from collections.abc import Mapping

from export.c.audio.tables import has_fft
from export.c.generator import generate
from export.formats import WIDTHS, Emitted, Format, Width, origin_of
from export.onnx import write_onnx
from export.onnx_int8 import write_onnx_int8
from export.quantization import QuantizedGraph
from export.students import Student
from export.tflite import write_float, write_quantized
from export.tflite_reduced import write_fp16, write_int8_weights
from runtime.artefact import C_MODEL
from runtime.contract import StftContract


def emit(
    format: Format,
    student: Student,
    quantized: Mapping[Width, QuantizedGraph],
    contract: StftContract,
) -> Emitted:
    """The file of a student in ``format``.

    An integer file is written from the ``quantized`` graph of its width; beside C lies the audio
    path of the ``contract``, if it has one. Raises InputError for a model that C cannot take.
    """
    graph = student.graph
    match format:
        case "tflite-int8" | "tflite-int16x8":
            integers = quantized[WIDTHS[format]]
            return Emitted(format, write_quantized(integers), integers)
        case "onnx-int8":
            integers = quantized[WIDTHS[format]]
            return Emitted(format, write_onnx_int8(integers), integers)
        case "tflite-fp32":
            return Emitted(format, write_float(graph))
        case "tflite-fp16":
            return Emitted(format, write_fp16(graph))
        case "tflite-int8w":
            return Emitted(format, write_int8_weights(graph))
        case "onnx-fp32":
            return Emitted(format, write_onnx(student))
        case "c-int8" | "c-int16x8" | "c-fp32":
            origin = emit(origin_of(format), student, quantized, contract)
            return _generated(format, origin, contract)


def _generated(format: Format, model: Emitted, contract: StftContract) -> Emitted:
    """The C of a TFLite file."""
    name = C_MODEL.removesuffix(".c")
    generated = generate(model.content, name, contract if has_fft(contract) else None)
    sources = {name: text for name, text in generated.files.items() if name != C_MODEL}
    memory = {"ram": generated.ram_bytes, "constants": generated.constant_bytes}
    if generated.audio_ram_bytes:
        memory["audio_ram"] = generated.audio_ram_bytes
        memory["audio_constants"] = generated.audio_constant_bytes
    text = generated.files[C_MODEL]
    return Emitted(format, text, model.quantized, model.content, sources, memory)
