"""A step graph with each kind of operator, and most variants of each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export.step_graph import (
    Activation,
    Concat,
    Constant,
    Conv2d,
    Elementwise,
    Mean,
    Operator,
    Pad,
    Prelu,
    Slice,
    State,
    StepGraph,
    Tensor,
    Transpose,
    TransposeConv2d,
)

Array = npt.NDArray[np.float32]


def every_operator() -> StepGraph:
    """From features ``[1, 1, 8, 4]`` to a mask ``[1, 1, 5, 6]``, with a history of two frames."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    def tensor(name: str, *shape: int) -> Tensor:
        time, bins, channels = shape
        return Tensor(name, (1, time, bins, channels))

    entry, before = tensor("features", 1, 8, 4), tensor("past_in", 2, 8, 4)
    window = tensor("window", 3, 8, 4)
    after = tensor("past_out", 2, 8, 4)
    deep = tensor("deep", 3, 8, 8)
    grouped, bent, leaky, scaled, lifted, rectified = (
        tensor(name, 3, 4, 6)
        for name in ("grouped", "bent", "leaky", "scaled", "lifted", "rectified")
    )
    mean, up = tensor("mean", 1, 4, 6), tensor("up", 1, 8, 5)
    cut, padded = tensor("cut", 1, 4, 5), tensor("padded", 1, 6, 5)
    turned, mask = tensor("turned", 1, 5, 6), tensor("mask", 1, 5, 6)
    operators: tuple[Operator, ...] = (
        Concat(window, (before, entry)),
        Slice(after, window, (0, 1, 0, 0)),
        Conv2d(deep, window, drawn(8, 1, 3, 1), drawn(8)),
        Conv2d(
            grouped,
            deep,
            drawn(6, 2, 3, 4),
            drawn(6),
            stride=(1, 2),
            activation="relu",
            padding="same",
        ),
        Prelu(bent, grouped, drawn(6)),
        Activation("leaky_relu", leaky, bent, 0.2),
        Elementwise("mul", scaled, leaky, Constant("gain", drawn(1, 1, 4, 1))),
        Elementwise("sub", lifted, scaled, Constant("shift", drawn(1, 1, 1, 6))),
        Activation("relu", rectified, lifted),
        Mean(mean, rectified, (1,)),
        TransposeConv2d(up, mean, drawn(5, 1, 3, 6), drawn(5), (1, 2), "same"),
        Slice(cut, up, (0, 0, 1, 0), (1, 1, 2, 1)),
        Pad(padded, cut, (0, 0, 1, 0), (0, 0, 1, 0)),
        Transpose(turned, padded),
        Activation("tanh", mask, turned),
    )
    return StepGraph(entry, mask, (State("past", before, after),), operators)
