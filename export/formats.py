"""The artefact formats this package writes, and a model in one of them before it is published."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from export.quantization import QuantizedGraph
from targets.errors import InputError

Format = Literal["tflite-int8", "tflite-fp32", "onnx-fp32"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {
    "tflite-int8": ".tflite",
    "tflite-fp32": ".tflite",
    "onnx-fp32": ".onnx",
}


@dataclass(frozen=True)
class Emitted:
    """The bytes of one model file; ``quantized`` is what an int8 one was written from."""

    format: Format
    content: bytes = field(repr=False)
    quantized: QuantizedGraph | None = field(default=None, repr=False)


def known_formats(names: Sequence[str]) -> list[Format]:
    """The named formats, each once, in the order given. Raises InputError for an unknown one."""
    by_name: dict[str, Format] = {name: name for name in FORMATS}
    for name in names:
        if name not in by_name:
            close = difflib.get_close_matches(name, FORMATS, n=1)
            meant = f"Did you mean {close[0]}? " if close else ""
            raise InputError(
                f"Unknown export target {name!r}.", hint=f"{meant}Known: {', '.join(FORMATS)}."
            )
    if not names:
        raise InputError("No export target given.", hint=f"Known: {', '.join(FORMATS)}.")
    return [by_name[name] for name in dict.fromkeys(names)]
