"""Gate ``stored-weights``: every weight and bias in the file is that of the trained network.

One wrong weight is inaudible on average, so the comparison of signals cannot find it; this can.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from export.gates.tflite_file import StoredModel, StoredTensor, read_model
from export.step_graph import Conv2d, StepGraph, TransposeConv2d, Weighted, Weights
from runtime.artefact import GateResult

NAME = "stored-weights"
LIMIT = 0.5  # steps of the stored scale: what rounding to the nearest allows
DEPTHWISE_ORDER = (3, 1, 2, 0)  # from the file's axes to the graph's
ROUNDING = 1e-3  # steps; scales are float32


def stored_weights(model: bytes, graph: StepGraph) -> GateResult:
    """Reads all constants of a TFLite file back and compares them with the graph's.

    The measure is the largest deviation in steps of the stored scale; a float constant has a step
    of zero and must be equal, a float16 one must be the nearest to the graph's. The bias of an
    integer convolution must be in units of input scale · weight scale.
    """
    stored = read_model(model)
    by_output = {stored.tensors[op.outputs[0]].name: op.inputs for op in stored.operators}
    worst, where, compared = 0.0, "", 0
    for conv in graph.weighted:
        sources = by_output.get(conv.output.name, ())
        if isinstance(conv, TransposeConv2d):
            sources = (sources[2], sources[1], *sources[3:]) if len(sources) == 4 else ()
        deviation = _deviation(stored, sources, conv) if len(sources) == 3 else float("inf")
        compared += conv.weight.size + conv.bias.size
        if not deviation <= worst:
            worst, where = deviation, conv.output.name
    passed = worst <= LIMIT + ROUNDING
    return GateResult(
        name=NAME,
        measured=f"{worst:.3g} steps off" if np.isfinite(worst) else "not comparable",
        limit=f"≤ {LIMIT:g} of a step",
        verdict="pass" if passed else "fail",
        detail=f"{compared} weights and biases compared" + (f", worst in {where}" * bool(where)),
    )


def _deviation(stored: StoredModel, sources: tuple[int, ...], conv: Weighted) -> float:
    entry, weight, bias = (stored.tensors[index] for index in sources)
    weight = stored.unpacked().get(weight.name, weight)
    bias_scales = np.asarray(bias.scales, np.float64)
    if weight.type == "INT8" and entry.type != "FLOAT32":
        # Kernels multiply the two scales; the float32 product beside the bias is only a copy.
        bias_scales = np.multiply(weight.scales, entry.scales[0], dtype=np.float64)
        if not np.allclose(bias.scales, bias_scales, rtol=1e-5, atol=0.0):
            return float("inf")
    weight_scales = np.asarray(weight.scales, np.float64)
    if isinstance(conv, Conv2d) and conv.depthwise and len(weight.shape) == 4:
        weight = replace(
            weight,
            shape=tuple(weight.shape[axis] for axis in DEPTHWISE_ORDER),
            values=None if weight.values is None else weight.values.transpose(DEPTHWISE_ORDER),
        )
    return max(
        _steps_off(weight, conv.weight, weight_scales), _steps_off(bias, conv.bias, bias_scales)
    )


def _steps_off(tensor: StoredTensor, wanted: Weights, scales: npt.NDArray[np.float64]) -> float:
    """Largest distance of a constant from ``wanted``, in steps; infinite where it has no place."""
    if tensor.shape != wanted.shape or tensor.values is None:
        return float("inf")
    if tensor.type in ("FLOAT32", "FLOAT16"):
        nearest = wanted.astype(tensor.values.dtype)
        return 0.0 if np.array_equal(tensor.values, nearest) else float("inf")
    if len(scales) != len(wanted) or any(tensor.zero_points):
        return float("inf")
    steps = wanted / scales.reshape(-1, *(1,) * (wanted.ndim - 1))
    return float(np.max(np.abs(tensor.values - steps)))
