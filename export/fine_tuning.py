"""Quantization-aware fine-tuning: the quantized student learns to answer as the float one does.

Weights and activations are rounded in the forward pass as the file rounds them, with the grids of
the calibration held fixed (see :mod:`export.torch_executor`). What is matched is the float
student's mask, weighted by the compressed magnitude it is applied to, and the direction of its
recurrent states (the cosine of the latents: Luong et al. 2025). No clean speech is needed: the
student is its own teacher (Hinton et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from export.executor import Array, StepExecutor
from export.quantization import QuantizedGraph
from export.step_graph import StepGraph
from export.torch_executor import Sequences, TorchExecutor

STREAMS = 8  # signals per step
FRAMES = 63  # per step, 1 s; states are carried on to the next second of the same signals
LEARNING_RATE = 5e-4
LATENT_WEIGHT = 0.1
HELD_BACK = 8  # signals that are not trained on, to see whether it helped
SEED = 0


@dataclass(frozen=True)
class FineTuned:
    """The student with new weights, and the loss on signals held back, before and after."""

    graph: StepGraph = field(repr=False)
    steps: int
    loss_before: float
    loss_after: float

    @property
    def helped(self) -> bool:
        return self.loss_after < self.loss_before


@dataclass(frozen=True)
class _Lesson:
    """Features ``[signals, frames, bins, 3]`` and what the float student makes of them."""

    features: Tensor
    mask: Tensor  # [signals, frames, 1, bins, channels]
    states: dict[str, Tensor]  # of recurrent states, by output name


def fine_tune(
    graph: StepGraph,
    quantized: QuantizedGraph,
    stacked: Array,
    steps: int,
    learning_rate: float = LEARNING_RATE,
    progress: Callable[[float], None] | None = None,
) -> FineTuned:
    """Train the weights of ``graph`` for the grids of ``quantized``, made of it, on features
    ``[signals, frames, bins, 3]``.

    The weights of the last step are returned, whether it helped or not.
    """
    student = TorchExecutor(graph, quantized)
    lesson = _lesson(graph, stacked, [state.output.name for state in student.recurrent()])
    held_back = min(HELD_BACK, len(stacked) // 4)
    trained, kept = len(stacked) - held_back, slice(len(stacked) - held_back, None)
    before = _judged(student, lesson, kept)
    optimiser = torch.optim.Adam(student.parameters(), lr=learning_rate)
    rng = np.random.default_rng(SEED)
    order: list[int] = []
    frame, states = stacked.shape[1], None
    for step in range(steps):
        if frame >= stacked.shape[1]:
            if len(order) < min(STREAMS, trained):
                order = rng.permutation(trained).tolist()
            chosen, order = order[:STREAMS], order[STREAMS:]
            frame, states = 0, None
        rate = 0.5 * learning_rate * (1.0 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        part = _part(lesson, chosen, slice(frame, frame + FRAMES))
        values = student(part.features, states)
        loss = _loss(student, values, part)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        frame, states = frame + FRAMES, student.last_states(values)
        if progress is not None:
            progress((step + 1) / steps)
    return FineTuned(student.trained_graph(), steps, before, _judged(student, lesson, kept))


def _lesson(graph: StepGraph, stacked: Array, states: list[str]) -> _Lesson:
    names = [graph.mask.name, *states]
    heard: dict[str, list[Array]] = {name: [] for name in names}
    for values in StepExecutor(graph).sequence(stacked):
        for name in names:
            heard[name].append(values[name])
    joined = {name: torch.from_numpy(np.stack(parts, axis=1)) for name, parts in heard.items()}
    return _Lesson(
        torch.from_numpy(stacked),
        joined[graph.mask.name],
        {name: joined[name] for name in states},
    )


def _part(lesson: _Lesson, signals: list[int] | slice, frames: slice) -> _Lesson:
    return _Lesson(
        lesson.features[signals][:, frames],
        lesson.mask[signals][:, frames],
        {name: values[signals][:, frames] for name, values in lesson.states.items()},
    )


def _loss(student: TorchExecutor, values: Sequences, part: _Lesson) -> Tensor:
    """Relative squared error of the mask, plus how far the states point elsewhere."""
    weight = part.features[:, :, None, :, :1].square()
    error = (weight * (values[student.graph.mask.name] - part.mask).square()).sum()
    total = error / (weight * part.mask.square()).sum().clamp_min(1e-8)
    for name, wanted in part.states.items():
        found = functional.cosine_similarity(
            values[name].flatten(2), wanted.flatten(2), dim=-1, eps=1e-6
        )
        total = total + LATENT_WEIGHT * (1.0 - found).mean()
    return total


@torch.no_grad()
def _judged(student: TorchExecutor, lesson: _Lesson, signals: slice) -> float:
    part = _part(lesson, signals, slice(None))
    return float(_loss(student, student(part.features), part))
