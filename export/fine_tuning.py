"""Quantization-aware fine-tuning: the quantized student learns to answer as the float one does.

Weights and activations are rounded in the forward pass as the file rounds them, with the grids of
the calibration held fixed (see :mod:`export.torch_executor`). What is matched is the float
student's output, of every signal alike: the spectrum, the spectrum compressed as the features are
(Ephrat et al. 2018; here its error is that of the compressed mask, as the compression of a product
is the product of the compressed), and the direction of recurrent states (the cosine of latents:
Luong et al. 2025). No clean speech is needed: the student is its own teacher (Hinton et al. 2015).
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
WARM_UP = 0.1  # of the steps
LATENT_WEIGHT = 0.1
FLOOR = 1e-4  # of a mask's power: keeps the gradient of |m|^0.3 finite
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
    compression: float,
    steps: int,
    learning_rate: float = LEARNING_RATE,
    progress: Callable[[float], None] | None = None,
) -> FineTuned:
    """Train the weights of ``graph`` for the grids of ``quantized``, made of it, on features
    ``[signals, frames, bins, 3]`` whose magnitudes were raised to the power ``compression``.

    The weights of the last step are returned, whether it helped or not.
    """
    student = TorchExecutor(graph, quantized)
    lesson = _lesson(graph, stacked, [state.output.name for state in student.recurrent()])
    held_back = min(HELD_BACK, len(stacked) // 4)
    trained, kept = len(stacked) - held_back, slice(len(stacked) - held_back, None)
    before = _judged(student, lesson, kept, compression)
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
        rate = learning_rate * _schedule((step + 1) / steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        part = _part(lesson, chosen, slice(frame, frame + FRAMES))
        values = student(part.features, states)
        loss = _loss(student, values, part, compression)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        frame, states = frame + FRAMES, student.last_states(values)
        if progress is not None:
            progress((step + 1) / steps)
    return FineTuned(
        student.trained_graph(), steps, before, _judged(student, lesson, kept, compression)
    )


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


def _schedule(done: float) -> float:
    """Share of the learning rate: up at first, as Adam's first steps are its largest, then down."""
    return min(done / WARM_UP, 0.5 * (1.0 + math.cos(math.pi * done)))


def _loss(student: TorchExecutor, values: Sequences, part: _Lesson, compression: float) -> Tensor:
    """Relative squared errors of the output, plain and compressed, means over the signals, plus
    how far the states point elsewhere."""
    magnitude = part.features[:, :, None, :, :1]
    found, wanted = values[student.graph.mask.name], part.mask
    plain = _relative(found, wanted, magnitude.clamp_min(0.0) ** (1.0 / compression))
    total = plain + _relative(
        _compressed(found, compression), _compressed(wanted, compression), magnitude
    )
    for name, state in part.states.items():
        cosine = functional.cosine_similarity(
            values[name].flatten(2), state.flatten(2), dim=-1, eps=1e-6
        )
        total = total + LATENT_WEIGHT * (1.0 - cosine).mean()
    return total


def _relative(found: Tensor, wanted: Tensor, magnitude: Tensor) -> Tensor:
    """Energy of the difference of two masks over that of the second, both applied to a spectrum
    of this magnitude; mean over the signals."""
    error = (magnitude * (found - wanted)).square().flatten(1).sum(dim=1)
    energy = (magnitude * wanted).square().flatten(1).sum(dim=1)
    return (error / energy.clamp_min(1e-8)).mean()


def _compressed(mask: Tensor, compression: float) -> Tensor:
    """The mask with its magnitudes raised to a power; a mask near zero stays near zero."""
    power = mask.square().sum(dim=-1, keepdim=True) + FLOOR
    return mask * power ** (0.5 * (compression - 1.0))


@torch.no_grad()
def _judged(student: TorchExecutor, lesson: _Lesson, signals: slice, compression: float) -> float:
    part = _part(lesson, signals, slice(None))
    return float(_loss(student, student(part.features), part, compression))
