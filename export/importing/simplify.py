"""A step graph with fewer operators that computes the same.

Affine 1×1 depthwise convolutions (batch norms) fold into the convolution before them, ReLU becomes
part of a convolution, a convolution that is only read in parts becomes one for each part, and what
no output needs is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from export.importing.permuting import permuted
from export.importing.readers import readers_of
from export.importing.renaming import renamed
from export.step_graph import (
    Activation,
    Conv2d,
    Operator,
    Reshape,
    Slice,
    StepGraph,
    Transpose,
    TransposeConv2d,
    Weighted,
    sources,
)


def simplified(graph: StepGraph) -> StepGraph:
    """The same function of the same inputs; tensors that are outputs keep their names."""
    operators = needed(graph.operators, [tensor.name for tensor in graph.outputs])
    kept = {tensor.name for tensor in graph.outputs}
    operators = _folded(operators, kept)
    operators = _fused(operators, kept)
    operators = _apart(operators, kept)
    operators = permuted(operators, kept)
    names = {operator.output.name for operator in operators} | {t.name for t in graph.inputs}
    return replace(graph, operators=tuple(operators), bounded=graph.bounded & names)


def needed(operators: Sequence[Operator], outputs: Sequence[str]) -> list[Operator]:
    """The operators that the outputs depend on, in order."""
    wanted = set(outputs)
    kept: list[Operator] = []
    for operator in reversed(operators):
        if operator.output.name in wanted:
            kept.append(operator)
            wanted |= {source.name for source in sources(operator)}
    return kept[::-1]


def _folded(operators: Sequence[Operator], kept: set[str]) -> list[Operator]:
    """Without the per-channel gains that stand right behind a convolution of their own."""
    readers = readers_of(operators)
    made: dict[str, Operator] = {}
    result: list[Operator] = []
    names: dict[str, str] = {}
    for operator in operators:
        before = made.get(operator.input.name) if isinstance(operator, Conv2d) else None
        if (
            isinstance(operator, Conv2d)
            and _per_channel(operator)
            and isinstance(before, Weighted)
            and not (isinstance(before, Conv2d) and before.activation != "none")
            and len(readers[before.output.name]) == 1
            and before.output.name not in kept
        ):
            result.remove(before)
            operator = _with_gain(before, operator)
            if operator.output.name not in kept:
                names[operator.output.name] = before.output.name
        result.append(operator)
        made[operator.output.name] = operator
    return renamed(result, names)


def _per_channel(conv: Conv2d) -> bool:
    outputs, time, bins, inputs = conv.weight.shape
    return (
        (time, bins, inputs) == (1, 1, 1)
        and outputs == conv.input.shape[3]
        and conv.stride == (1, 1)
    )


def _with_gain(before: Weighted, after: Conv2d) -> Weighted:
    """gain · (w x + b) + shift = (gain · w) x + (gain · b + shift)"""
    gain = after.weight.reshape(-1).astype(np.float64)
    weight = (before.weight * gain[:, None, None, None]).astype(np.float32)
    bias = (before.bias * gain + after.bias).astype(np.float32)
    merged = replace(before, output=after.output, weight=weight, bias=bias)
    if isinstance(merged, TransposeConv2d):
        return merged
    return replace(merged, activation=after.activation)


def _fused(operators: Sequence[Operator], kept: set[str]) -> list[Operator]:
    """ReLU inside the convolution before it, also across operators that only move values."""
    result = list(operators)
    names: dict[str, str] = {}
    for relu in operators:
        if not (isinstance(relu, Activation) and relu.kind == "relu"):
            continue
        chain = _chain(result, relu, kept)
        if chain is None:
            continue
        conv, last = chain[0], chain[-1]
        result.remove(relu)
        fused = replace(conv, activation="relu")
        result[result.index(conv)] = replace(fused, output=relu.output) if conv is last else fused
        if conv is not last:
            result[result.index(last)] = replace(last, output=relu.output)
        if relu.output.name not in kept:
            names[relu.output.name] = last.output.name
    return renamed(result, names)


def _chain(
    operators: Sequence[Operator], relu: Activation, kept: set[str]
) -> tuple[Conv2d, Operator] | None:
    """The convolution whose values reach a ReLU unread by others, and what hands them over."""
    readers = readers_of(operators)
    made: Mapping[str, Operator] = {operator.output.name: operator for operator in operators}
    name, last = relu.input.name, made.get(relu.input.name)
    while name in made and len(readers[name]) == 1 and name not in kept:
        operator = made[name]
        if isinstance(operator, Conv2d) and operator.activation == "none":
            return operator, cast(Operator, last)
        if not isinstance(operator, Reshape | Transpose):
            return None
        name = operator.input.name
    return None


def _apart(operators: Sequence[Operator], kept: set[str]) -> list[Operator]:
    """Gates computed by one product and cut apart: each gets a product, and a scale, of its own."""
    made = {operator.output.name: operator for operator in operators}
    whole: dict[str, list[Slice]] = {}
    for operator in operators:
        for source in sources(operator):
            conv = made.get(source.name)
            if isinstance(conv, Conv2d) and conv.groups == 1 and source.name not in kept:
                parts = whole.setdefault(source.name, [])
                if isinstance(operator, Slice) and _of_channels(operator):
                    parts.append(operator)
                else:
                    kept = kept | {source.name}
    split = {
        name
        for name, parts in whole.items()
        if name not in kept
        and sum(part.output.shape[3] for part in parts) <= made[name].output.shape[3]
    }
    result: list[Operator] = []
    for operator in operators:
        if operator.output.name in split:
            continue
        if isinstance(operator, Slice) and operator.input.name in split:
            conv = made[operator.input.name]
            assert isinstance(conv, Conv2d)
            rows = slice(operator.begin[3], operator.end[3])
            result.append(
                replace(
                    conv, output=operator.output, weight=conv.weight[rows], bias=conv.bias[rows]
                )
            )
        else:
            result.append(operator)
    return result


def _of_channels(part: Slice) -> bool:
    return (
        part.begin[:3] == (0, 0, 0)
        and part.strides == (1, 1, 1, 1)
        and part.output.shape[:3] == part.input.shape[:3]
    )
