"""Rectifiers in int16, from operators whose int16 kernels are exact.

TFLM has no int16 PRELU, and its int16 LEAKY_RELU differs from LiteRT's in one value of 40,000.
"""

from __future__ import annotations

import numpy as np

from export.step_graph import Activation, Constant, Elementwise, Operator, Prelu, Tensor

Rectifier = Prelu | Activation


def is_rectifier(operator: Operator) -> bool:
    """Whether it has a slope below zero."""
    return isinstance(operator, Prelu) or (
        isinstance(operator, Activation) and operator.kind == "leaky_relu"
    )


def written_out(operator: Rectifier) -> tuple[list[Operator], dict[str, str]]:
    """relu(x) + slope · (x − relu(x)), and for each tensor added one whose range holds it."""
    source, output = operator.input, operator.output
    above, below, scaled = (
        Tensor(f"{output.name}/{part}", output.shape) for part in ("above", "below", "scaled")
    )
    if isinstance(operator, Prelu):
        slopes = operator.slopes
    else:
        slopes = np.full(1, operator.slope, np.float32)
    factors = Constant(f"{output.name}/slopes", slopes.reshape(1, 1, 1, -1))
    operators: list[Operator] = [
        Activation("relu", above, source),
        Elementwise("sub", below, source, above),
        Elementwise("mul", scaled, below, factors),
        Elementwise("add", output, above, scaled),
    ]
    return operators, {above.name: source.name, below.name: source.name, scaled.name: output.name}
