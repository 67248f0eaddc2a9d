"""Memory of one step as the graph alone tells it: states, weights, activations alive at once."""

from __future__ import annotations

from math import prod

from export.step_graph import Reshape, StepGraph, Tensor, sources

ALIGNMENT = 16  # bytes, of every activation, as TFLM's planner aligns them
BIAS_BYTES = 4  # int32, as float32


def state_values(graph: StepGraph) -> int:
    """Numbers that a stream carries from one step to the next."""
    return sum(prod(state.input.shape) for state in graph.states)


def weight_bytes(graph: StepGraph, bytes_per_weight: int) -> int:
    """Weights and biases; scales and the structure of a file are not counted."""
    weights = sum(int(operator.weight.size) for operator in graph.weighted)
    biases = sum(int(operator.bias.size) for operator in graph.weighted)
    return weights * bytes_per_weight + BIAS_BYTES * biases


def activation_peak(graph: StepGraph, bytes_per_value: int) -> int:
    """The most bytes of activations that are alive at once, states included.

    A tensor lives from the operator that computes it (inputs: from the start) to the last one
    that reads it (outputs: to the end). A reshape shares the memory of its source. No arena can
    be smaller; a planner that must find one address for each tensor may need more.
    """
    owner = _owners(graph)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    size: dict[str, int] = {}

    def used(tensor: Tensor, at: int) -> None:
        name = owner.get(tensor.name, tensor.name)
        first.setdefault(name, at)
        last[name] = max(last.get(name, at), at)
        size.setdefault(name, _aligned(prod(tensor.shape) * bytes_per_value))

    for tensor in graph.inputs:
        used(tensor, 0)
    for at, operator in enumerate(graph.operators):
        for tensor in (*sources(operator), operator.output):
            used(tensor, at)
    for tensor in graph.outputs:
        used(tensor, len(graph.operators) - 1)
    moments = range(len(graph.operators))
    return max(
        sum(size[name] for name in size if first[name] <= at <= last[name]) for at in moments
    )


def _owners(graph: StepGraph) -> dict[str, str]:
    """Name of a reshaped tensor → name of the tensor whose memory it shares."""
    owner: dict[str, str] = {}
    for operator in graph.operators:
        if isinstance(operator, Reshape):
            source = operator.input.name
            owner[operator.output.name] = owner.get(source, source)
    return owner


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
