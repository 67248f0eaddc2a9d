"""What several operators ask about types, scales and activations, and how they refuse."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export.c.arithmetic import Multiplier, activation_range, quantized_multiplier
from export.c.model import CModel, COperator, CTensor

SUFFIXES = {"int8": "s8", "int16": "s16", "float32": "f32"}  # of kernels
LARGEST = float(np.finfo(np.float32).max)
FLOAT_LIMITS = {  # of fused activations
    "NONE": (-LARGEST, LARGEST),
    "RELU": (0.0, LARGEST),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
SIMPLE_SHIFTS = range(-23, -1)  # of sordino_brought_down


def one_type(model: CModel, operator: COperator, *tensors: CTensor) -> str:
    """The type that all tensors have; raises Refused where they differ or no kernel has it."""
    types = {tensor.dtype for tensor in tensors}
    if len(types) != 1 or not types <= SUFFIXES.keys():
        raise model.refusal(operator, f"no kernel takes {' and '.join(sorted(types))}")
    return types.pop()


def quantization(model: CModel, operator: COperator, tensor: CTensor) -> tuple[float, int]:
    """Scale and zero point; raises Refused for an int16 zero point that is not 0."""
    scale, zero_point = model.affine(operator, tensor)
    if tensor.dtype == "int16" and zero_point != 0:
        raise model.refusal(
            operator, f"tensor {tensor.name!r} is int16 with the zero point {zero_point}, not 0"
        )
    return scale, zero_point


def multiplier(model: CModel, operator: COperator, real: float, largest: int) -> Multiplier:
    """The multiplier of a ratio of scales that is applied to values of up to ``largest``.

    Raises Refused where the product with its left shift does not fit 32 bits.
    """
    try:
        found = quantized_multiplier(real)
    except ValueError as error:
        raise model.refusal(operator, f"its scales have the ratio {real:g}") from error
    if largest << found.left >= 2**31:
        raise model.refusal(operator, f"its scales have the ratio {real:g}, which overflows")
    return found


def scale_field(multiplier: Multiplier) -> tuple[int, int]:
    """The C struct ``sordino_scale``."""
    return multiplier.value, multiplier.shift


def output_limits(model: CModel, operator: COperator, target: CTensor) -> tuple[int, int]:
    """Lowest and highest stored value after the fused activation."""
    limits = activation_range(
        operator.activation, target.dtype, *quantization(model, operator, target)
    )
    if limits is None:
        raise model.refusal(operator, f"the fused activation {operator.activation} has no kernel")
    return limits


def float_limits(model: CModel, operator: COperator) -> tuple[float, float]:
    if operator.activation not in FLOAT_LIMITS:
        raise model.refusal(operator, f"the fused activation {operator.activation} has no kernel")
    return FLOAT_LIMITS[operator.activation]


def by_bits(results: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Results for −128 … 127 in the order of the value's bits: 0 … 127, −128 … −1."""
    return np.concatenate([results[128:], results[:128]])
