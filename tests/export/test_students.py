"""Both kinds of students behind one interface."""

from __future__ import annotations

from collections import Counter
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from distill.unet import UNet
from export.executor import StepExecutor
from export.gates.recurrence import largest_difference, random_states, trace
from export.importing.imported import import_student
from export.lowering import lower
from export.step_graph import Moving, StepGraph
from export.students import Student, foreign_student, in_double, own_student
from tests.export.conftest import KINDS, SMALL, randomised

Array = npt.NDArray[np.float32]


class Wrapped(nn.Module):
    """Sordino's own network as if it were somebody else's."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network
        self.names = list(network.initial_states())

    def initial_states(self) -> dict[str, Tensor]:
        return self.network.initial_states()

    def step(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        output = self.network.step(features, dict(zip(self.names, states, strict=True)))
        return (output.mask, *(output.states[name] for name in self.names))

    def forward(self, features: Tensor) -> Tensor:
        return self.network(features).mask


FEW = ("plain", "bands, real mask", "temporal convolution")
MORE = tuple(kind for kind in KINDS if kind not in FEW)


@pytest.fixture(
    scope="module", params=[*FEW, *(pytest.param(kind, marks=pytest.mark.slow) for kind in MORE)]
)
def pair(request: pytest.FixtureRequest) -> tuple[Student, Student]:
    """The same network by both roads."""
    config = SMALL.model_copy(update=KINDS.get(request.param, {}))
    network = randomised(config)
    return own_student(network), foreign_student(Wrapped(network), config.bins)


@pytest.fixture(scope="module")
def frames() -> Array:
    return np.random.default_rng(3).normal(size=(30, 64, 3)).astype(np.float32)


def _moving(graph: StepGraph) -> Counter[str]:
    return Counter(type(one).__name__ for one in graph.operators if isinstance(one, Moving))


def _weights(graph: StepGraph) -> int:
    return sum(one.weight.size + one.bias.size for one in graph.weighted)


def test_sordinos_own_networks_come_out_the_same(
    pair: tuple[Student, Student], frames: Array
) -> None:
    own, foreign = pair
    assert foreign.graph.macs == own.graph.macs
    weights, theirs = (_weights(student.graph) for student in (own, foreign))
    assert theirs == weights
    # Where bands and a mask of one channel meet, less needs to be moved.
    less = _moving(own.graph) - _moving(foreign.graph)
    assert set(less) <= {"Transpose"}
    assert set(_moving(foreign.graph) - _moving(own.graph)) <= {"Reshape"}
    masks = [StepExecutor(graph).masks(frames[None]) for graph in (own.graph, foreign.graph)]
    np.testing.assert_allclose(masks[1], masks[0], atol=1e-6)


def test_steps_and_sequences_agree(pair: tuple[Student, Student], frames: Array) -> None:
    for student in pair:
        resumes = student.sequencer.resumes
        states = random_states(student.graph) if resumes else student.initial_states()
        stepped = trace(student, frames, states)
        masks, *last = student.sequencer.run(frames, states)
        np.testing.assert_allclose(stepped[0][:, 0, 0], masks, atol=1e-5)
        assert len(last) == (len(states) if resumes else 0)
        for series, final in zip(stepped[1:], last, strict=resumes):
            np.testing.assert_allclose(series[-1], final, atol=1e-5)


def test_torch_and_the_graph_agree_from_any_state(
    pair: tuple[Student, Student], frames: Array
) -> None:
    for student in pair:
        states = random_states(student.graph)
        graph = StepExecutor(student.graph)
        difference = largest_difference(
            trace(student, frames, states), trace(graph, frames, states)
        )
        assert difference < 1e-5


def test_a_foreign_sequence_starts_from_zeros(frames: Array) -> None:
    student = foreign_student(Wrapped(randomised()), 64)
    states = random_states(student.graph)
    with pytest.raises(ValueError, match="zero states"):
        student.sequencer.run(frames, states)


def test_states_keep_torchs_names_and_go_there_and_back() -> None:
    network = Wrapped(randomised())
    imported = import_student(network, 64)
    names = [state.name for state in lower(network.network).states]
    assert sorted(state.name for state in imported.graph.states) == sorted(names)
    for state, layout in zip(imported.graph.states, imported.layouts, strict=True):
        value = torch.randn(layout.shape)
        stored = layout.into_graph(value)
        assert tuple(stored.shape) == state.input.shape
        torch.testing.assert_close(layout.from_graph(stored), value)


class Histories(nn.Module):
    """States that are the features themselves, each other, and the mask."""

    def initial_states(self) -> dict[str, Tensor]:
        return {
            "last": torch.zeros(1, 3, 1, 8),
            "before": torch.zeros(1, 3, 1, 8),
            "again": torch.zeros(1, 3, 1, 8),
            "mask_before": torch.zeros(1, 2, 1, 8),
        }

    def step(
        self, features: Tensor, last: Tensor, before: Tensor, again: Tensor, mask: Tensor
    ) -> tuple[Tensor, ...]:
        new = torch.tanh(features[:, :2] + last[:, 1:] - before[:, :2] + 0.5 * mask + again[:, 1:])
        return new, features, last, features, new


def test_outputs_that_are_something_else_too_are_copied() -> None:
    imported = import_student(Histories(), 8)
    graph = imported.graph
    assert len({tensor.name for tensor in (*graph.inputs, *graph.outputs)}) == 10
    frames = np.random.default_rng(0).normal(size=(20, 8, 3)).astype(np.float32)
    executor = StepExecutor(graph)
    found = trace(executor, frames, executor.initial_states())
    states = list(Histories().initial_states().values())
    for index, frame in enumerate(frames):
        features = torch.from_numpy(frame).permute(1, 0)[None, :, None]
        mask, *states = Histories().step(features, *states)
        np.testing.assert_allclose(found[0][index], mask.permute(0, 2, 3, 1).numpy(), atol=1e-6)


def test_in_double_only_the_formula_is_left(frames: Array) -> None:
    """A gate of large sums differs in float32 between any two orders of summing up."""
    network = randomised()
    with torch.no_grad():
        cast(nn.GRU, network.bottleneck.gru).get_parameter("weight_ih_l0").mul_(300.0)
    student = own_student(network)

    def difference() -> float:
        stepped = trace(student, frames, student.initial_states())[0][:, 0, 0]
        whole = student.sequencer.run(frames, student.initial_states())[0]
        assert whole.dtype == stepped.dtype
        return float(np.abs(whole - stepped).max())

    before = [value.clone() for value in network.state_dict().values()]
    alone = difference()
    with in_double(student):
        assert difference() < min(1e-12, alone)
    assert all(map(torch.equal, before, network.state_dict().values()))
    assert difference() == alone


def test_a_foreign_student_keeps_its_width() -> None:
    network = randomised()
    student = foreign_student(Wrapped(network), network.config.bins)
    with in_double(student):
        assert {value.dtype for value in network.parameters()} == {torch.float32}
