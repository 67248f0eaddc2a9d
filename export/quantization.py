"""From ranges to int8: activations per tensor and asymmetric, weights per channel and symmetric.

Tensors that hold the same values share one scale: a state's input and output, the parts of a
concatenation and its result, both sides of an operator that only moves values. So nothing is ever
requantized on the way around the recurrence, and no operator has to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from export.calibration import Calibration, Range
from export.step_graph import Activation, Concat, Conv2d, Reshape, StepGraph, Tail, Transpose

LOWEST, HIGHEST = -128, 127
WEIGHT_LIMIT = 127  # narrow range: kernels may assume that −128 never occurs in weights
BIAS_LIMIT = 2**30  # half of int32, so that a sum of products still fits beside the bias
SMALLEST_SPAN = 1e-3  # of a tensor that never moved; far below any real activation's


@dataclass(frozen=True)
class Affine:
    """real = (stored − zero_point) · scale. The scale is a float32 value, as files store it."""

    scale: float
    zero_point: int


LOGISTIC_OUTPUT = Affine(1.0 / 256.0, -128)  # both demanded by the integer kernels
TANH_OUTPUT = Affine(1.0 / 128.0, 0)
HIDDEN = Affine(1.0 / 128.0, 0)  # a GRU state is a mean of tanh values: within ±1


@dataclass(frozen=True)
class Int8Weights:
    """Weight ``[out, time, frequency, in]`` int8, scales ``[out]`` float32, bias ``[out]`` int32.

    The bias of channel c is in units of input scale · scales[c].
    """

    weight: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]


@dataclass(frozen=True)
class QuantizedGraph:
    """A step graph with an :class:`Affine` per tensor and int8 weights per convolution output."""

    graph: StepGraph
    activations: dict[str, Affine] = field(repr=False)
    weights: dict[str, Int8Weights] = field(repr=False)


def quantize_graph(graph: StepGraph, calibration: Calibration) -> QuantizedGraph:
    """Scales, zero points and int8 weights of a calibrated graph."""
    fixed = _fixed_outputs(graph)
    activations: dict[str, Affine] = {}
    for group in tied_groups(graph):
        demanded = {fixed[name] for name in group if name in fixed}
        if len(demanded) > 1:
            raise ValueError(f"tensors {sorted(group)} need different scales and must share one")
        ranges = [calibration.ranges[name] for name in group]
        chosen = demanded.pop() if demanded else affine_of(_union(ranges))
        activations.update(dict.fromkeys(group, chosen))
    convolutions = (operator for operator in graph.operators if isinstance(operator, Conv2d))
    weights = {
        conv.output.name: quantize_weights(conv, activations[conv.input.name].scale)
        for conv in convolutions
    }
    return QuantizedGraph(graph, activations, weights)


def affine_of(bounds: Range) -> Affine:
    """Scale and zero point for a range, widened to include 0, which is then stored exactly."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    span = max(high - low, SMALLEST_SPAN)
    scale = float(np.float32(span / (HIGHEST - LOWEST)))
    zero_point = round(LOWEST - low / scale)
    return Affine(scale, int(np.clip(zero_point, LOWEST, HIGHEST)))


def quantize_weights(conv: Conv2d, input_scale: float) -> Int8Weights:
    """Symmetric int8 weights, one scale per output channel.

    A channel whose bias dwarfs its weights gets a coarser scale, so that the bias fits int32.
    """
    flat = np.abs(conv.weight.reshape(len(conv.weight), -1).astype(np.float64))
    for_weight = flat.max(axis=1) / WEIGHT_LIMIT
    for_bias = np.abs(conv.bias.astype(np.float64)) / (input_scale * BIAS_LIMIT)
    scales = np.maximum(np.maximum(for_weight, for_bias), SMALLEST_SPAN / WEIGHT_LIMIT)
    scales = scales.astype(np.float32)
    per_channel = scales.astype(np.float64)
    weight = np.rint(conv.weight / per_channel[:, None, None, None])
    weight = np.clip(weight, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    bias = np.rint(conv.bias / (per_channel * input_scale)).astype(np.int32)
    return Int8Weights(weight, scales, bias)


def tied_groups(graph: StepGraph) -> list[set[str]]:
    """Sets of tensor names that must share scale and zero point; every tensor is in one."""
    parent: dict[str, str] = {tensor.name: tensor.name for tensor in graph.inputs}
    parent.update({operator.output.name: operator.output.name for operator in graph.operators})

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for operator in graph.operators:
        match operator:
            case Concat():
                for source in operator.inputs:
                    parent[root(source.name)] = root(operator.output.name)
            case Reshape() | Transpose() | Tail():
                parent[root(operator.input.name)] = root(operator.output.name)
    for state in graph.states:
        parent[root(state.input.name)] = root(state.output.name)
    groups: dict[str, set[str]] = {}
    for name in parent:
        groups.setdefault(root(name), set()).add(name)
    return list(groups.values())


def _fixed_outputs(graph: StepGraph) -> dict[str, Affine]:
    fixed = {state.input.name: HIDDEN for state in graph.states if state.name == "gru"}
    for operator in graph.operators:
        match operator:
            case Activation(kind="logistic"):
                fixed[operator.output.name] = LOGISTIC_OUTPUT
            case Activation(kind="tanh"):
                fixed[operator.output.name] = TANH_OUTPUT
    return fixed


def _union(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)
