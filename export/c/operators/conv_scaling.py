"""Integers of a convolution's last step: per-channel multipliers, shifts, and activation limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export.c.arithmetic import (
    LIMITS,
    Integers,
    Multiplier,
    activation_range,
    quantized_multiplier,
    reduced_multiplier,
)
from export.c.call import FieldValue
from export.c.model import CModel, COperator, CTensor

SIMPLE_SHIFTS = (-23, -2)  # for which conv_scaling.h rounds twice with one constant
WIDE_BITS = 16  # a multiplier of 15 bits stands this much higher where 32 bits hold every sum
WIDE_SHIFTS = (-31, 7)  # for which TFLM multiplies 48-bit sums with 15-bit multipliers
FLOAT_RANGES = {
    "NONE": (-3.4028234663852886e38, 3.4028234663852886e38),
    "RELU": (0.0, 3.4028234663852886e38),
    "RELU6": (0.0, 6.0),
}


@dataclass(frozen=True)
class Scaling:
    """Output = clamp(sum · multiplier, rounded, + zero point), with one multiplier a channel."""

    multipliers: tuple[Multiplier, ...]
    zero_point: int
    lowest: int
    highest: int

    def s8_fields(self, bias: Integers) -> tuple[Integers, dict[str, FieldValue]]:
        """A record ``sordino_conv_channel`` per channel, and the last fields of
        ``sordino_conv_s8_params``."""
        low, high = SIMPLE_SHIFTS
        within = all(low <= item.shift <= high for item in self.multipliers)
        pairs = [(item.value, item.shift) for item in self.multipliers]
        return np.column_stack([bias, pairs]), {
            "zero_point": self.zero_point,
            "lowest": self.lowest,
            "highest": self.highest,
            "simple": int(within and (self.lowest, self.highest) == LIMITS["int8"]),
        }

    def s16_fields(
        self, bias: Integers, largest: int, twice: bool
    ) -> tuple[Integers, dict[str, FieldValue]]:
        """The same for ``sordino_conv_s16_params``, of sums up to ``largest`` in magnitude.

        The records are ``sordino_conv_wide_channel`` where those are wide. ``twice`` where the
        model's biases are int32.
        """
        pairs = np.array([(reduced_multiplier(item), 15 - item.shift) for item in self.multipliers])
        wide = not twice and (largest >= 2**31 or int(pairs[:, 1].min()) <= WIDE_BITS)
        if wide:
            words = np.ascontiguousarray(bias, "<i8").view("<i4").reshape(-1, 2)  # lower, upper
            records = np.column_stack([words, pairs])
        elif twice:
            whole = [(item.value, item.shift) for item in self.multipliers]
            records = np.column_stack([bias, whole])
        else:
            raised = np.column_stack([pairs[:, 0] << WIDE_BITS, pairs[:, 1] - WIDE_BITS])
            records = np.column_stack([bias, raised])
        return records, {
            "lowest": self.lowest,
            "highest": self.highest,
            "wide": int(wide),
            "twice": int(twice),
        }


def conv_scaling(
    model: CModel, operator: COperator, source: CTensor, weight: CTensor, channels: int, axis: int
) -> Scaling:
    """Multipliers of input scale · weight scale / output scale, in float64 as TFLM has them."""
    scales = weight_scales(model, operator, weight, channels, axis)
    before = affine(model, operator, source)[0]
    after = affine(model, operator, model.output(operator))[0]
    return scaling_of(model, operator, [before * scale / after for scale in scales])


def scaling_of(model: CModel, operator: COperator, reals: Sequence[float]) -> Scaling:
    """The scaling that multiplies by ``reals``, with the operator's fused activation."""
    target = model.output(operator)
    scale, zero_point = affine(model, operator, target)
    try:
        multipliers = tuple(quantized_multiplier(real) for real in reals)
    except ValueError as error:
        raise model.refusal(operator, f"its scales do not fit together: {error}") from error
    low, high = WIDE_SHIFTS
    if target.dtype == "int16" and not all(low <= item.shift <= high for item in multipliers):
        raise model.refusal(operator, "its scales are too far apart for 16-bit multipliers")
    limits = activation_range(operator.activation, target.dtype, scale, zero_point)
    if limits is None:
        raise model.refusal(operator, f"the fused activation {operator.activation} has no kernel")
    return Scaling(multipliers, zero_point, *limits)


def float_range(model: CModel, operator: COperator) -> tuple[float, float]:
    """Lowest and highest value after a fused activation in float32."""
    if operator.activation not in FLOAT_RANGES:
        raise model.refusal(operator, f"the fused activation {operator.activation} has no kernel")
    return FLOAT_RANGES[operator.activation]


def affine(model: CModel, operator: COperator, tensor: CTensor) -> tuple[float, int]:
    """The one scale and zero point of an activation."""
    if len(tensor.scales) != 1 or len(tensor.zero_points) != 1:
        raise model.refusal(operator, f"{tensor.name!r} has {len(tensor.scales)} scales, not one")
    scale, zero_point = tensor.scales[0], tensor.zero_points[0]
    if not (math.isfinite(scale) and scale > 0.0):
        raise model.refusal(operator, f"the scale of {tensor.name!r} is {scale}")
    low, high = LIMITS[tensor.dtype] if tensor.dtype == "int8" else (0, 0)
    if not low <= zero_point <= high:
        raise model.refusal(operator, f"the zero point of {tensor.name!r} is {zero_point}")
    return scale, zero_point


def weight_scales(
    model: CModel, operator: COperator, weight: CTensor, channels: int, axis: int
) -> tuple[float, ...]:
    """One scale per output channel of symmetric weights."""
    scales = weight.scales * channels if len(weight.scales) == 1 else weight.scales
    if len(scales) != channels or (len(weight.scales) > 1 and weight.axis != axis):
        raise model.refusal(
            operator, f"{weight.name!r} has {len(weight.scales)} scales for {channels} channels"
        )
    if any(weight.zero_points):
        raise model.refusal(operator, f"the zero points of {weight.name!r} are not 0")
    if not all(math.isfinite(scale) and scale >= 0.0 for scale in scales):
        raise model.refusal(operator, f"a scale of {weight.name!r} is negative or not finite")
    return scales
