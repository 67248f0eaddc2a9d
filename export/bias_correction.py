"""What rounding the weights adds to the mean of each channel, taken out of the biases.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
section 4.2: with ΔW = W̃ − W, an output channel is off by ΔW·E[x] on average, and a bias can undo
that. E[x] is measured over the calibration signals, states carried, for every place of a tensor,
so that padding and strides are exact. Errors that arrive from earlier layers are not corrected
again: they were where they arose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np

from export.executor import Array, StepExecutor, compute
from export.quantization import QuantizedGraph
from export.simulation import with_stored_weights
from export.step_graph import Conv2d, StepGraph, TransposeConv2d, Weighted


@dataclass(frozen=True)
class BiasCorrection:
    """The graph with corrected biases, and by output name the largest shift, in units of the
    output's scale."""

    graph: StepGraph
    shifts: dict[str, float] = field(repr=False)


def tensor_means(
    graph: StepGraph,
    stacked: Array,
    names: Collection[str],
    progress: Callable[[float], None] | None = None,
) -> dict[str, Array]:
    """Means ``[1, time, frequency, channels]`` of the named tensors over features
    ``[streams, frames, bins, 3]``, states carried."""
    sums: dict[str, np.ndarray] = {}
    streams, frames = stacked.shape[:2]
    for frame, values in enumerate(StepExecutor(graph).sequence(stacked)):
        for name in names:
            total = values[name].sum(axis=0, keepdims=True, dtype=np.float64)
            sums[name] = sums[name] + total if frame else total
        if progress is not None:
            progress((frame + 1) / frames)
    return {name: (total / (streams * frames)).astype(np.float32) for name, total in sums.items()}


def correct_biases(
    graph: StepGraph, quantized: QuantizedGraph, means: dict[str, Array]
) -> BiasCorrection:
    """``graph`` with biases that undo the mean error of ``quantized``'s weights.

    ``means`` are those of the inputs of the weighted operators: see :func:`tensor_means`.
    """
    stored = {op.output.name: op for op in with_stored_weights(quantized).weighted}
    operators = []
    shifts = {}
    for operator in graph.operators:
        if isinstance(operator, Conv2d | TransposeConv2d):
            name = operator.output.name
            change = _mean_error(operator, stored[name], means[operator.input.name])
            operator = replace(operator, bias=(operator.bias - change).astype(np.float32))
            shifts[name] = float(np.max(np.abs(change))) / quantized.activations[name].scale
        operators.append(operator)
    return BiasCorrection(replace(graph, operators=tuple(operators)), shifts)


def _mean_error(operator: Weighted, stored: Weighted, mean: Array) -> Array:
    """Mean over time and frequency ``[channels]`` of (W̃ − W)·E[x]."""
    change = replace(
        operator, weight=stored.weight - operator.weight, bias=np.zeros_like(operator.bias)
    )
    if isinstance(change, Conv2d):
        change = replace(change, activation="none")
    result: Array = compute(change, {operator.input.name: mean}).mean(axis=(0, 1, 2))
    return result
