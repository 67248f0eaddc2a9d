"""TRANSPOSE_CONV: ordinary convolutions, one for every place between two input values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.c.call import Call
from export.c.model import CModel, COperator, CTensor
from export.c.operators.conv_scaling import conv_scaling
from export.c.operators.conv_weights import kernel_kind, stored_bias
from export.c.operators.conv_window import (
    Axis,
    Placement,
    Windows,
    check_ranks,
    check_result,
)
from export.c.operators.convolution import conv_call


@dataclass(frozen=True)
class Phase:
    """Every ``stride``-th output from ``start`` sees the taps ``taps``, in the input's order."""

    start: int
    taps: tuple[int, ...]
    axis: Axis


def transpose_conv(model: CModel, operator: COperator) -> tuple[Call, ...]:
    """TRANSPOSE_CONV with weight ``[out, height, width, in]``; inputs: shape, weight, source."""
    weight, source = model.tensor(operator, 1), model.tensor(operator, 2)
    target = model.output(operator)
    kind = kernel_kind(model, operator, source, weight)
    check_ranks(model, operator, source, weight, target)
    batches, height, width, depth = source.shape
    filters, rows, columns, inputs = weight.shape
    if inputs != depth:
        raise model.refusal(operator, f"weights {list(weight.shape)} for {depth} channels")
    check_result(model, operator, batches, filters)
    scaling = conv_scaling(model, operator, source, weight, filters, 0) if kind != "f32" else None
    bias = stored_bias(model, operator, 3, filters)
    assert weight.data is not None  # kernel_kind
    calls = []
    for vertical in _phases(model, operator, "h", height, rows, target.shape[1]):
        for horizontal in _phases(model, operator, "w", width, columns, target.shape[2]):
            windows = Windows(
                batches,
                vertical.axis,
                horizontal.axis,
                depth,
                depth,
                filters,
                _placement(operator, target, vertical, horizontal),
            )
            part = weight.data[:, vertical.taps][:, :, horizontal.taps]
            if not part.size:  # between the taps is nothing but the bias
                part = np.zeros((filters, windows.length), part.dtype)
            matrix = part.reshape(filters, windows.length)
            calls.append(conv_call(model, operator, source, kind, windows, scaling, matrix, bias))
    return tuple(calls)


def _phases(
    model: CModel, operator: COperator, letter: str, size: int, taps: int, result: int
) -> list[Phase]:
    """Outputs along one axis by which taps reach them.

    Output o takes tap k of input (o + pad − k) / stride where that is an integer.
    """
    stride = operator.integer(f"stride_{letter}", 1)
    if stride < 1:
        raise model.refusal(operator, f"the stride {stride} is not positive")
    pad = _padding(model, operator, taps, stride, size, result)
    phases = []
    for start in range(min(stride, result)):
        first = (start + pad) % stride
        taken = tuple(reversed(range(first, taps, stride)))
        count = max(len(taken), 1)
        last = (start + pad - first) // stride  # the input that tap ``first`` meets
        axis = Axis(size, -(-(result - start) // stride), count, pad=count - 1 - last)
        phases.append(Phase(start, taken, axis))
    return phases


def _padding(
    model: CModel, operator: COperator, taps: int, stride: int, size: int, result: int
) -> int:
    """That of the convolution from the output back to the input."""
    if operator.padding == "SAME":
        return max((-(-result // stride) - 1) * stride + taps - result, 0) // 2
    if operator.padding == "VALID":
        return 0
    raise model.refusal(operator, f"the padding {operator.padding} is unknown")


def _placement(
    operator: COperator, target: CTensor, vertical: Phase, horizontal: Phase
) -> Placement:
    _, height, width, channels = target.shape
    row, column = width * channels, channels
    return Placement(
        vertical.start * row + horizontal.start * column,
        height * row,
        operator.integer("stride_h", 1) * row,
        operator.integer("stride_w", 1) * column,
    )
