"""Gate ``scale-floor``: no scale in an int8 file is so small that a tensor is really stuck.

Calibrating with zero states gives recurrent scales near 1e-12: such a file runs and denoises
nothing.
"""

from __future__ import annotations

from export.gates.tflite_file import read_model
from runtime.artefact import GateResult

NAME = "scale-floor"
LIMIT = 1e-9
QUANTIZED = ("INT8", "INT16")


def scale_floor(model: bytes) -> GateResult:
    """The smallest scale among all quantized tensors; one without a scale counts as 0."""
    scales = {
        tensor.name: min(tensor.scales, default=0.0)
        for tensor in read_model(model).tensors
        if tensor.type in QUANTIZED
    }
    if not scales:
        return GateResult(
            name=NAME, measured="no quantized tensor", limit=f"≥ {LIMIT:.0e}", verdict="fail"
        )
    name = min(scales, key=lambda key: scales[key])
    return GateResult(
        name=NAME,
        measured=f"{scales[name]:.1e}",
        limit=f"≥ {LIMIT:.0e}",
        verdict="pass" if scales[name] >= LIMIT else "fail",
        detail=f"smallest: {name}, of {len(scales)} quantized tensors",
    )
