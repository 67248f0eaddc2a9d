"""Running a step model over many frames with its states fed back: shared by the gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from export.step_graph import StepGraph

Array = npt.NDArray[Any]


class Runner(Protocol):
    """One step: features and states in, mask and new states out, both in the graph's order."""

    def run(self, inputs: Sequence[Array]) -> list[Array]: ...


def trace(runner: Runner, frames: Array, states: Sequence[Array]) -> list[Array]:
    """Outputs of every frame: one array ``[frames, *shape]`` per output, mask first.

    ``frames`` is ``[frames, bins, 3]``, as stored; ``states`` are those before the first frame.
    """
    carried, collected = list(states), []
    for frame in frames:
        outputs = runner.run([frame[None, None], *carried])
        carried = outputs[1:]
        collected.append(outputs)
    return [np.stack(series) for series in zip(*collected, strict=True)]


def random_states(graph: StepGraph, seed: int = 0) -> list[npt.NDArray[np.float32]]:
    """Plausible non-zero states: histories are rectified, hidden states lie within ±1."""
    rng = np.random.default_rng(seed)
    states = []
    for state in graph.states:
        shape = state.input.shape
        bounded = state.output.name in graph.bounded
        drawn = rng.uniform(-0.9, 0.9, shape) if bounded else rng.exponential(0.5, shape)
        states.append(drawn.astype(np.float32))
    return states


def largest_difference(one: Sequence[Array], other: Sequence[Array]) -> float:
    """Largest absolute difference over all outputs; infinite where one is not a number."""
    worst = 0.0
    for left, right in zip(one, other, strict=True):
        if left.shape != right.shape:
            return float("inf")
        difference = float(np.max(np.abs(left.astype(np.float64) - right.astype(np.float64))))
        worst = max(worst, difference if np.isfinite(difference) else float("inf"))
    return worst
