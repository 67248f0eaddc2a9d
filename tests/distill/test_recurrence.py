from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill.bottlenecks import DualPathBottleneck
from distill.recurrence import FASTEST, SLOWEST, MinGru, _LeakyMean

SIZES = {"time": st.integers(1, 6), "rows": st.integers(1, 3), "hidden": st.integers(1, 4)}


def mean(update: Tensor, candidate: Tensor, state: Tensor) -> Tensor:
    means: Tensor = _LeakyMean.apply(update, candidate, state)  # type: ignore[no-untyped-call]
    return means


def drawn(
    time: int, rows: int, hidden: int, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Shares within 0 and 1, candidates within ±1, and a state to start from."""
    torch.manual_seed(seed)
    update = torch.rand(time, rows, hidden, dtype=dtype)
    candidate = 2.0 * torch.rand(time, rows, hidden, dtype=dtype) - 1.0
    return update, candidate, torch.randn(rows, hidden, dtype=dtype)


@settings(max_examples=12, deadline=None)
@given(**SIZES, seed=st.integers(0, 99))
def test_the_gradient_is_that_of_finite_differences(
    time: int, rows: int, hidden: int, seed: int
) -> None:
    inputs = [value.requires_grad_() for value in drawn(time, rows, hidden, seed)]
    assert torch.autograd.gradcheck(mean, inputs)


def test_a_wrong_gradient_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As if a state did not reach the frames after the next."""
        update, candidate, state, means = ctx.saved_tensors
        before = torch.cat((state[None], means[:-1]))
        return gradient * (candidate - before), gradient * update, gradient[0] * (1 - update[0])

    monkeypatch.setattr(_LeakyMean, "backward", staticmethod(late))
    inputs = [value.requires_grad_() for value in drawn(4, 2, 3, 0)]
    assert not torch.autograd.gradcheck(mean, inputs, raise_exception=False)


@settings(max_examples=12, deadline=None)
@given(**SIZES, inputs=st.integers(1, 5), cut=st.integers(0, 6), seed=st.integers(0, 99))
def test_steps_and_parts_are_the_sequence(
    time: int, rows: int, hidden: int, inputs: int, cut: int, seed: int
) -> None:
    _, _, state = drawn(time, rows, hidden, seed, torch.float32)
    cell, sequence = MinGru(inputs, hidden), torch.randn(time, rows, inputs)
    whole = cell(sequence, state)
    after, steps = state, []
    for frame in sequence:
        after = cell.step(frame, after)
        steps.append(after)
    torch.testing.assert_close(torch.stack(steps), whole)
    cut = min(max(cut, 1), time)
    parts = [cell(sequence[:cut], state)]
    if cut < time:
        parts.append(cell(sequence[cut:], parts[0][-1]))
    torch.testing.assert_close(torch.cat(parts), whole)


@settings(max_examples=12, deadline=None)
@given(**SIZES, seed=st.integers(0, 99), loudness=st.sampled_from([0.0, 1.0, 1e6]))
def test_states_stay_within_one(
    time: int, rows: int, hidden: int, seed: int, loudness: float
) -> None:
    torch.manual_seed(seed)
    cell = MinGru(3, hidden)
    states = cell(loudness * torch.randn(time, rows, 3), torch.rand(rows, hidden)).detach()
    assert float(states.abs().max()) <= 1.0


def test_memories_are_spread_at_the_start() -> None:
    biases = MinGru(3, 5).gates.bias[:5]
    assert biases.tolist() == pytest.approx([SLOWEST, -2.0, -1.0, 0.0, FASTEST])


@pytest.mark.parametrize("full_band", [0, 5])
def test_it_trains_in_half_precision(full_band: int) -> None:
    torch.manual_seed(0)
    bottleneck = DualPathBottleneck(4, 3, 6, blocks=1, full_band=full_band)
    frames = torch.randn(2, 4, 5, 3)
    exact = bottleneck(frames, bottleneck.initial_states(2))[0]
    with torch.autocast("cpu", torch.bfloat16):
        output, states, _ = bottleneck(frames, bottleneck.initial_states(2))
    torch.testing.assert_close(output.float(), exact, rtol=0.0, atol=0.1)
    output.float().square().mean().backward()
    for name, parameter in bottleneck.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert set(states) == {"dual0", "full"} if full_band else {"dual0"}
