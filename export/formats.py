"""The artefact formats this package writes, and a model in one of them before it is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from export.quantization import QuantizedGraph
from targets.catalog import load_target
from targets.errors import InputError
from targets.schema import Target

Format = Literal[
    "tflite-int8",
    "tflite-int16x8",
    "tflite-fp32",
    "tflite-fp16",
    "tflite-int8w",
    "onnx-fp32",
    "onnx-int8",
    "c-int8",
    "c-int16x8",
    "c-fp32",
]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, str] = {"tflite": ".tflite", "onnx": ".onnx", "c": ".c"}
# How wide the activations of an integer format are; weights are int8.
Width = Literal["int8", "int16x8"]
WIDTHS: dict[Format, Width] = {
    "tflite-int8": "int8",
    "onnx-int8": "int8",
    "c-int8": "int8",
    "tflite-int16x8": "int16x8",
    "c-int16x8": "int16x8",
}
# Of which TFLite file the C of a format is generated.
GENERATED_FROM: dict[Format, Format] = {
    "c-int8": "tflite-int8",
    "c-int16x8": "tflite-int16x8",
    "c-fp32": "tflite-fp32",
}
# Float activations, but other weights than the trained ones.
ROUNDED: frozenset[Format] = frozenset({"tflite-fp16", "tflite-int8w"})


@dataclass(frozen=True)
class Emitted:
    """The bytes of one model file; ``quantized`` is what an integer one was written from.

    Of C, ``origin`` is the TFLite file it was generated from, ``sources`` are the files beside
    it, and ``memory`` is what it takes in bytes.
    """

    format: Format
    content: bytes = field(repr=False)
    quantized: QuantizedGraph | None = field(default=None, repr=False)
    origin: bytes = field(default=b"", repr=False)
    sources: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    memory: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What an export was asked for: formats, and the devices that they must fit."""

    formats: tuple[Format, ...]
    devices: Mapping[Format, tuple[Target, ...]] = field(default_factory=dict)


def origin_of(format: Format) -> Format:
    """The TFLite file that the C of a format is generated from; other formats stand alone."""
    return GENERATED_FROM.get(format, format)


def suffix(format: Format) -> str:
    """The file name suffix of a format."""
    return SUFFIXES[format.partition("-")[0]]


def wanted(names: Sequence[str]) -> Wanted:
    """Formats and devices by name, each once, in the order given.

    A device (or a profile ``*.toml``) stands for the first of its formats that is written here.
    Raises InputError for an unknown name, or a device that takes none of the formats.
    """
    if not names:
        raise InputError("No export target given.", hint=f"Known: {', '.join(FORMATS)}.")
    formats: dict[Format, list[Target]] = {}
    for name in dict.fromkeys(names):
        if known := next((format for format in FORMATS if format == name), None):
            formats.setdefault(known, [])
            continue
        target = _device(name)
        formats.setdefault(preferred_format(target), []).append(target)
    return Wanted(
        tuple(formats), {format: tuple(devices) for format, devices in formats.items() if devices}
    )


def _device(name: str) -> Target:
    """A device by name or file. Where there is none the hint lists the formats as well."""
    try:
        return load_target(name)
    except InputError as error:
        hint = f"{error.hint} Formats: {', '.join(FORMATS)}."
        raise InputError(error.message, hint=hint) from error


def preferred_format(target: Target) -> Format:
    """The first format of a target that is written here. Raises InputError when there is none."""
    for name in target.formats:
        for format in FORMATS:
            if format == name:
                return format
    raise InputError(
        f"The target {target.name} takes none of the formats written here.",
        hint=f"It takes {', '.join(target.formats)}; known are {', '.join(FORMATS)}.",
    )
