"""One check for every format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from runtime.modelfile.onnx import check_onnx
from runtime.modelfile.tflite import check_tflite

CHECKS: Final[Mapping[str, Callable[[bytes, str], object]]] = MappingProxyType(
    {".onnx": check_onnx, ".tflite": check_tflite}
)


def check_model(content: bytes, suffix: str, name: str = "The model") -> None:
    """Refuse the bytes of a model file that is damaged, hostile, or beyond any denoiser.

    ``suffix`` is ``.tflite`` or ``.onnx``, ``name`` begins the sentence of a refusal. Source code
    is not data and cannot be checked: other suffixes pass. Raises ModelRefused.
    """
    check = CHECKS.get(suffix)
    if check is not None:
        check(content, name)
