"""A trained network as gates and writers see it, sordino's own or a foreign one.

Both are a step graph beside torch code that computes the same; nothing else of a network matters
to an export.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.tracing import evaluating
from distill.unet import UNet
from export.importing.imported import import_student
from export.importing.step import ForeignStep
from export.lowering import lower
from export.step_graph import StepGraph
from export.step_module import StepModule

Array = npt.NDArray[np.float32]


class Sequencer(Protocol):
    """What was trained: a whole sequence at once."""

    resumes: bool
    """Whether it starts from any states and returns the last ones; else from zeros, without."""

    def run(self, features: Array, states: Sequence[Array]) -> list[Array]:
        """Masks ``[frames, bins, 2 or 1]`` of features ``[frames, bins, 3]``, then the last states
        where it resumes. States are in the shapes of the graph."""
        ...


@dataclass(frozen=True)
class Student:
    """``step`` is a torch module: features and states in, mask and states out, in the shapes and
    the order of ``graph``."""

    graph: StepGraph
    step: nn.Module = field(repr=False)
    sequencer: Sequencer = field(repr=False)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """One step of the torch module on numpy arrays, as the engines run a model."""
        with torch.inference_mode():
            outputs = self.step(
                *(torch.from_numpy(array).to(_width(self.step)) for array in inputs)
            )
        return [output.contiguous().numpy() for output in outputs]

    def initial_states(self) -> list[Array]:
        """Zeros, in the order of the graph."""
        return [np.zeros(state.input.shape, np.float32) for state in self.graph.states]

    def masks(self, features: Array) -> Array:
        """Masks ``[1, frames, bins, 2 or 1]`` of features ``[1, frames, bins, 3]`` from zeros."""
        return self.sequencer.run(features[0], self.initial_states())[0][None]


def own_student(network: UNet) -> Student:
    """A network of sordino's own family, in evaluation mode."""
    graph = lower(network)
    names = [state.name for state in graph.states]
    return Student(graph, StepModule(network, names), _OwnSequence(network, names))


def foreign_student(network: nn.Module, bins: int) -> Student:
    """Any student that :mod:`export.importing.student` describes, in evaluation mode."""
    imported = import_student(network, bins)
    return Student(
        imported.graph, ForeignStep(network, imported.layouts).eval(), _ForeignSequence(network)
    )


@contextmanager
def in_double(student: Student) -> Iterator[None]:
    """The student computes in float64 as long as this lasts: what then differs is the formula, or
    the rounding of the other side.

    A foreign one stays as it is: its code may hold numbers of a width of their own.
    """
    ours = isinstance(student.step, StepModule)
    if ours:
        student.step.double()
    try:
        yield
    finally:
        if ours:
            student.step.float()


def _width(module: nn.Module) -> torch.dtype:
    """In what a network computes."""
    return next((value.dtype for value in module.parameters()), torch.float32)


class _OwnSequence:
    resumes = True

    def __init__(self, network: UNet, names: Sequence[str]) -> None:
        self._network, self._names = network, tuple(names)

    def run(self, features: Array, states: Sequence[Array]) -> list[Array]:
        width = _width(self._network)
        given = (torch.from_numpy(state).to(width) for state in states)
        named = {
            name: state[:, 0, 0] if name == "gru" else state.permute(0, 3, 1, 2)
            for name, state in zip(self._names, given, strict=True)
        }
        with torch.inference_mode():
            whole = self._network(_as_torch(features).to(width), named)
        last = [
            value[:, None, None] if name == "gru" else value.permute(0, 2, 3, 1)
            for name, value in ((name, whole.states[name]) for name in self._names)
        ]
        return [_as_masks(whole.mask), *(value.contiguous().numpy() for value in last)]


class _ForeignSequence:
    resumes = False

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def run(self, features: Array, states: Sequence[Array]) -> list[Array]:
        if any(map(np.any, states)):
            raise ValueError("a foreign student's forward starts from zero states")
        with torch.inference_mode(), evaluating(self._network):
            return [_as_masks(self._network(_as_torch(features)))]


def _as_torch(features: Array) -> Tensor:
    """``[1, 3, frames, bins]``"""
    return torch.from_numpy(features).permute(2, 0, 1)[None]


def _as_masks(mask: Tensor) -> Array:
    masks: Array = mask[0].permute(1, 2, 0).contiguous().numpy()
    return masks
