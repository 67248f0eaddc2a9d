"""A quantized graph computed in numpy: real numbers, rounded where the file would round.

It is not the arithmetic of the kernels, which round once or twice more on the way; it agrees with
them within a step of a tensor, runs many streams at once, and can round some tensors and leave
others alone. What is shipped is judged on the file itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from export.executor import Array, StepExecutor, compute
from export.quantization import Affine, QuantizedGraph, StoredConstant
from export.step_graph import (
    Constant,
    Conv2d,
    Elementwise,
    Operand,
    Operator,
    Prelu,
    StepGraph,
    TransposeConv2d,
)

LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}


class RoundingExecutor(StepExecutor):
    """Runs a step graph and rounds the named tensors, inputs included, to their grids."""

    def __init__(self, graph: StepGraph, grids: Mapping[str, Affine]) -> None:
        super().__init__(graph)
        self._grids = grids

    def tensors(self, inputs: Sequence[Array]) -> dict[str, Array]:
        named = zip(self.graph.inputs, inputs, strict=True)
        values = {tensor.name: self._rounded(tensor.name, array) for tensor, array in named}
        for operator in self.graph.operators:
            name = operator.output.name
            values[name] = self._rounded(name, compute(operator, values))
        return values

    def _rounded(self, name: str, values: Array) -> Array:
        grid = self._grids.get(name)
        return values if grid is None else rounded(values, grid)


def simulator(quantized: QuantizedGraph) -> RoundingExecutor:
    """The whole of a quantized graph: stored weights, every tensor on its grid."""
    return RoundingExecutor(with_stored_weights(quantized), quantized.activations)


def rounded(values: Array, grid: Affine) -> Array:
    """The nearest values of a grid."""
    low, high = LIMITS[grid.precision]
    scale, zero = np.float32(grid.scale), np.float32(grid.zero_point)
    steps = np.rint(values / scale)
    np.clip(steps, low - zero, high - zero, out=steps)
    return steps * scale


def with_stored_weights(quantized: QuantizedGraph) -> StepGraph:
    """The graph with the weights, biases and fixed operands that its file stores, as reals."""
    operators = (_restored(operator, quantized) for operator in quantized.graph.operators)
    return replace(quantized.graph, operators=tuple(operators))


def _restored(operator: Operator, quantized: QuantizedGraph) -> Operator:
    match operator:
        case Elementwise():
            return replace(
                operator,
                left=_constant(operator.left, quantized),
                right=_constant(operator.right, quantized),
            )
        case Prelu():
            slopes = _real(quantized.constants[f"{operator.output.name}/slopes"])
            return replace(operator, slopes=slopes.reshape(operator.slopes.shape))
        case Conv2d() | TransposeConv2d():
            stored = quantized.weights[operator.output.name]
            scales = stored.scales.astype(np.float64)
            entry = quantized.activations[operator.input.name].scale
            return replace(
                operator,
                weight=(stored.weight * scales[:, None, None, None]).astype(np.float32),
                bias=(stored.bias * (scales * entry)).astype(np.float32),
            )
        case _:
            return operator


def _constant(operand: Operand, quantized: QuantizedGraph) -> Operand:
    if not isinstance(operand, Constant):
        return operand
    return replace(operand, values=_real(quantized.constants[operand.name]))


def _real(stored: StoredConstant) -> Array:
    return stored.values.astype(np.float32) * np.float32(stored.affine.scale)
