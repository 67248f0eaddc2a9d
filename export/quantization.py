"""From ranges to integers: activations per tensor, weights per channel and symmetric int8.

Activations are int8 with a zero point, or int16 without one. Tensors that hold the same values
share one scale: a state's input and output, the parts of a concatenation and its result, both
sides of an operator that only moves values. So nothing is ever requantized on the way around the
recurrence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from export.calibration import Calibration, Range
from export.curve_scales import Curve, agreeing_scale
from export.precision import PreciseGraph, Precision, computed, tied_groups, with_precision
from export.step_graph import (
    Activation,
    Constant,
    Elementwise,
    Moving,
    Prelu,
    StepGraph,
    Weighted,
    operands,
    sources,
)

LOWEST, HIGHEST = -128, 127
HIGHEST_INT16 = 32767
WEIGHT_LIMIT = 127  # narrow range: kernels may assume that −128 never occurs in weights
BIAS_LIMIT = 2**30  # half of int32, so that a sum of products still fits beside the bias
BIAS_LIMIT_INT64 = 2**46  # far inside what kernels keep of a 64-bit sum when they scale it
FINEST_SUM = {"int8": 2.0**-17, "int16": 2.0**-12}  # of its coarsest operand's scale
SMALLEST_SPAN = 1e-3  # of a tensor that never moves; far below any real activation's


@dataclass(frozen=True)
class Affine:
    """real = (stored − zero_point) · scale. The scale is a float32 value, as files store it."""

    scale: float
    zero_point: int
    precision: Precision = "int8"


LOGISTIC_OUTPUT = Affine(1.0 / 256.0, -128)  # both demanded by the integer kernels
TANH_OUTPUT = Affine(1.0 / 128.0, 0)
# A hidden state is a mean or product of values within ±1, and units rest at either end: a scale
# of 1/128 would cut those at 1 to 127/128 for as long as they rest there.
HIDDEN = Affine(float(np.float32(1.0 / 127.0)), 0)
# Beyond these ends an int8 logistic or tanh stays at its lowest or highest step, with a margin.
FLAT_BEYOND: Mapping[Curve, Range] = {"logistic": (-6.5, 5.5), "tanh": (-3.3, 2.8)}
UNIT_INT16 = Affine(1.0 / 32768.0, 0, "int16")  # of all three in int16


@dataclass(frozen=True)
class StoredWeights:
    """Weight ``[out, time, frequency, in]`` int8, scales ``[out]`` float32, bias ``[out]``.

    The bias of channel c is in units of input scale · scales[c]; it is int32 beside int8
    activations and int64 beside int16 ones.
    """

    weight: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class StoredConstant:
    """A fixed operand in the integers of its operator."""

    values: npt.NDArray[np.int8] | npt.NDArray[np.int16]
    affine: Affine


@dataclass(frozen=True)
class QuantizedGraph:
    """A step graph with an :class:`Affine` per tensor, int8 weights per output of a convolution,
    and integers per fixed operand.

    ``graph`` has a Requantize where int8 and int16 meet; ``origins`` names the tensor of the float
    graph that each tensor added for that holds.
    """

    graph: StepGraph
    activations: Mapping[str, Affine] = field(repr=False)
    weights: Mapping[str, StoredWeights] = field(repr=False)
    constants: Mapping[str, StoredConstant] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def wide(self) -> frozenset[str]:
        """Tensors stored in int16."""
        return frozenset(
            name for name, affine in self.activations.items() if affine.precision == "int16"
        )


def quantize_graph(
    graph: StepGraph, calibration: Calibration, wide: Collection[str] = ()
) -> QuantizedGraph:
    """Scales, zero points and int8 weights of a calibrated graph.

    The operators that compute the tensors ``wide`` work on int16 activations.
    """
    precise = with_precision(graph, wide)
    activations = _activations(precise, calibration)
    weights = {
        operator.output.name: quantize_weights(operator, activations[operator.input.name])
        for operator in precise.graph.weighted
    }
    return QuantizedGraph(
        precise.graph, activations, weights, _constants(precise), dict(precise.origins)
    )


def _activations(precise: PreciseGraph, calibration: Calibration) -> dict[str, Affine]:
    graph, made = precise.graph, computed(precise.graph)
    fixed = _fixed_outputs(precise)
    chosen: dict[str, Affine] = {}
    for group in tied_groups(graph):
        width = precise.precision[min(group)]
        demanded = {fixed[name] for name in group if name in fixed}
        if len(demanded) > 1 or (demanded and len(group & made) > 1):
            raise ValueError(f"tensors {sorted(group)} need different scales and must share one")
        known = calibration.ranges if width == "int8" else calibration.reached
        ranges = [known[precise.held_by(name)] for name in group]
        if demanded:
            affine = demanded.pop()
        elif group & made and group & made <= graph.bounded:
            affine = HIDDEN if width == "int8" else UNIT_INT16
        elif width == "int8":
            affine = affine_of(_within(_union(ranges), flat_beyond(graph, group)))
            if curves := _curves_of(graph, group):
                scale = agreeing_scale(affine.scale, affine.zero_point, curves)
                affine = Affine(scale, affine.zero_point)
        else:
            affine = symmetric_of(_union(ranges))
        chosen.update(dict.fromkeys(group, affine))
    return _floored(graph, chosen)


def _floored(graph: StepGraph, chosen: dict[str, Affine]) -> dict[str, Affine]:
    """With coarser scales where a sum or difference is too small beside its operands.

    TFLM aborts the process where such an output is finer than 2⁻¹⁹ (int8) or 2⁻¹⁴ (int16) of its
    coarsest operand.
    """
    group_of = {name: group for group in tied_groups(graph) for name in group}
    for operator in graph.operators:
        if isinstance(operator, Elementwise) and operator.kind != "mul":
            affine = chosen[operator.output.name]
            scales = [
                quantize_constant(operand, affine.precision).affine.scale
                if isinstance(operand, Constant)
                else chosen[operand.name].scale
                for operand in operands(operator)
            ]
            floor = FINEST_SUM[affine.precision] * max(scales)
            if affine.scale < floor:
                coarse = Affine(float(np.float32(floor)), 0, affine.precision)
                chosen.update(dict.fromkeys(group_of[operator.output.name], coarse))
    return chosen


def flat_beyond(graph: StepGraph, names: Collection[str]) -> Range | None:
    """Where the one function that reads tied tensors becomes flat; None where others read them.

    A range needs no more: gates that are held open or shut for long reach hundreds, and steps as
    coarse as that would leave nothing of the slope between. TFLM's fixed point even fails there.
    """
    readers = [op for op in graph.operators if any(one.name in names for one in sources(op))]
    kinds = {
        op.kind if isinstance(op, Activation) else None
        for op in readers
        if not isinstance(op, Moving)
    }
    outside = {tensor.name for tensor in (*graph.inputs, *graph.outputs)}
    if len(kinds) != 1 or outside & set(names):
        return None
    kind = kinds.pop()
    return FLAT_BEYOND[kind] if kind in ("logistic", "tanh") else None


def _within(bounds: Range, ends: Range | None) -> Range:
    return bounds if ends is None else (max(bounds[0], ends[0]), min(bounds[1], ends[1]))


def _curves_of(graph: StepGraph, names: Collection[str]) -> set[Curve]:
    """The functions with integer kernels of their own that read any of the tensors."""
    readers = (op for op in graph.operators if isinstance(op, Activation))
    return {op.kind for op in readers if op.input.name in names and op.kind in ("logistic", "tanh")}


def affine_of(bounds: Range) -> Affine:
    """Scale and zero point for a range, widened to include 0, which is then stored exactly."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    span = max(high - low, SMALLEST_SPAN)
    scale = float(np.float32(span / (HIGHEST - LOWEST)))
    zero_point = round(LOWEST - low / scale)
    return Affine(scale, int(np.clip(zero_point, LOWEST, HIGHEST)))


def symmetric_of(bounds: Range) -> Affine:
    """The int16 scale for a range, without zero point: the next power of two.

    Then products and rectifiers scale by powers of two, where TFLM and LiteRT agree on every value;
    elsewhere their int16 kernels differ in one of some thousand. It costs at most one bit of 16.
    """
    reach = max(abs(bounds[0]), abs(bounds[1]), SMALLEST_SPAN)
    return Affine(float(2.0 ** np.ceil(np.log2(reach / HIGHEST_INT16))), 0, "int16")


def quantize_weights(conv: Weighted, entry: Affine) -> StoredWeights:
    """Symmetric int8 weights, one scale per output channel, for inputs in ``entry``.

    A channel whose bias dwarfs its weights gets a coarser scale, so that the bias fits.
    """
    narrow = entry.precision == "int8"
    limit = BIAS_LIMIT if narrow else BIAS_LIMIT_INT64
    flat = np.abs(conv.weight.reshape(len(conv.weight), -1).astype(np.float64))
    for_weight = flat.max(axis=1) / WEIGHT_LIMIT
    for_bias = np.abs(conv.bias.astype(np.float64)) / (entry.scale * limit)
    scales = np.maximum(np.maximum(for_weight, for_bias), SMALLEST_SPAN / WEIGHT_LIMIT)
    scales = scales.astype(np.float32)
    per_channel = scales.astype(np.float64)
    weight = np.rint(conv.weight / per_channel[:, None, None, None])
    weight = np.clip(weight, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    bias = np.rint(conv.bias / (per_channel * entry.scale))
    return StoredWeights(weight, scales, bias.astype(np.int32 if narrow else np.int64))


def _constants(precise: PreciseGraph) -> dict[str, StoredConstant]:
    """Fixed operands in the width of the operator that reads them."""
    stored = {}
    for operator in precise.graph.operators:
        width = precise.precision[operator.output.name]
        if isinstance(operator, Prelu):
            slopes = Constant(
                f"{operator.output.name}/slopes", operator.slopes.reshape(1, 1, 1, -1)
            )
            stored[slopes.name] = quantize_constant(slopes, width)
        for operand in operands(operator):
            if isinstance(operand, Constant):
                stored[operand.name] = quantize_constant(operand, width)
    return stored


def quantize_constant(constant: Constant, width: Precision) -> StoredConstant:
    """Symmetric; in int8 a constant of one value is stored exactly."""
    reach = max(float(np.abs(constant.values).max(initial=0.0)), SMALLEST_SPAN)
    if width == "int8":
        affine = Affine(float(np.float32(reach / WEIGHT_LIMIT)), 0)
        steps = np.clip(np.rint(constant.values / affine.scale), -WEIGHT_LIMIT, WEIGHT_LIMIT)
        return StoredConstant(steps.astype(np.int8), affine)
    affine = symmetric_of((-reach, reach))
    steps = np.clip(np.rint(constant.values / affine.scale), -HIGHEST_INT16, HIGHEST_INT16)
    return StoredConstant(steps.astype(np.int16), affine)


def _fixed_outputs(precise: PreciseGraph) -> dict[str, Affine]:
    fixed = {}
    for operator in precise.graph.operators:
        match operator:
            case Activation(kind="logistic" | "tanh" as kind):
                narrow = LOGISTIC_OUTPUT if kind == "logistic" else TANH_OUTPUT
                width = precise.precision[operator.output.name]
                fixed[operator.output.name] = narrow if width == "int8" else UNIT_INT16
            case _:
                pass
    return fixed


def _union(ranges: Iterable[Range]) -> Range:
    known = list(ranges)
    return min(low for low, _ in known), max(high for _, high in known)
