"""What sordino asks of a student that is not its own, and how it is opened and checked.

A student is a torch module with three methods:

``step(features [1, 3, 1, bins], *states) -> (mask [1, 2 or 1, 1, bins], *states)``
    one frame. It keeps nothing between calls: all it remembers are its states.
``initial_states() -> dict[str, Tensor]``
    the states before the first frame, all zero, by name, in the order ``step`` takes them.
``forward(features [batch, 3, time, bins]) -> mask [batch, 2 or 1, time, bins]``
    a whole sequence from zero states: what was trained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.teachers.module import build_module, fill
from distill.teachers.sources import ModuleSource
from distill.tracing import evaluating
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError

METHODS = ("step", "initial_states")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
INTERFACE = "docs/any-student.md describes the three methods a student has."
MASKS = (1, 2)  # channels: real, or real and imaginary part


def open_student(factory: str, weights: Path | None, bins: int) -> nn.Module:
    """The module that ``package.module:factory`` returns, filled and checked.

    ``weights`` is a .safetensors file of its state_dict. Raises InputError where it cannot be
    built, or is not a student of features of so many bins.
    """
    student = build_module(ModuleSource(factory=factory, input="features", output="mask"))
    if weights is not None:
        fill(student, weights)
    student.eval().requires_grad_(False)
    check_student(student, bins)
    return student


def states_of(student: nn.Module) -> dict[str, Tensor]:
    """Its initial states. Raises InputError where they are not named zeros."""
    for method in METHODS:
        if not callable(getattr(student, method, None)):
            raise InputError(f"{type(student).__name__} has no method {method}().", hint=INTERFACE)
    with torch.no_grad():
        states = student.initial_states()  # type: ignore[operator]
    if not isinstance(states, Mapping) or not all(
        isinstance(value, Tensor) for value in states.values()
    ):
        raise InputError("initial_states() returns no dictionary of tensors.", hint=INTERFACE)
    for name, value in states.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError(
                f"A state cannot be called {name!r}.", hint="Use letters, digits and underscores."
            )
        if value.dtype != torch.float32 or value.numel() == 0 or bool(value.any()):
            raise InputError(
                f"The state {name!r} does not start as zeros in float32.",
                hint="Devices start with zeros: add a constant inside the step instead.",
            )
    return dict(states)


@torch.no_grad()
def check_student(student: nn.Module, bins: int) -> None:
    """Try step and forward on a few frames. Raises InputError for wrong shapes, states that do
    not keep theirs, and a step that remembers something else."""
    states = states_of(student)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn((1, FEATURE_CHANNELS, 3, bins), generator=generator)
    with evaluating(student):
        first = run_step(student, frames[:, :, :1], list(states.values()))
        again = run_step(student, frames[:, :, :1], list(states.values()))
        whole = _run_forward(student, frames)
    _check_mask("step", first[0], 1, bins)
    _check_mask("forward", whole, 3, bins)
    for (name, before), after in zip(states.items(), first[1:], strict=True):
        if before.shape != after.shape:
            raise InputError(
                f"The state {name!r} is {list(before.shape)} before a step and "
                f"{list(after.shape)} after it.",
                hint="A state keeps its shape: cut a history to its length.",
            )
    if any(not torch.equal(one, other) for one, other in zip(first, again, strict=True)):
        raise InputError(
            "The same step gives something else when it is repeated: it remembers more than its "
            "states, or is random.",
            hint="Take everything as a state and return the new one; switch dropout off in eval().",
        )


def run_step(student: nn.Module, features: Tensor, states: Sequence[Tensor]) -> list[Tensor]:
    """Mask and new states of one frame. Raises InputError where the step fails or returns
    something else."""
    try:
        outputs = student.step(features, *states)  # type: ignore[operator]
    except Exception as error:  # whatever foreign code raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"step() failed on features {list(features.shape)} and {len(states)} states: "
            f"{reason.rstrip('.')}.",
            hint=INTERFACE,
        ) from error
    if not isinstance(outputs, tuple | list) or not all(
        isinstance(output, Tensor) for output in outputs
    ):
        raise InputError("step() returns no flat tuple of tensors.", hint=INTERFACE)
    if len(outputs) != 1 + len(states):
        raise InputError(
            f"step() returns {len(outputs)} tensors; a mask and {len(states)} states are "
            f"{1 + len(states)}.",
            hint=INTERFACE,
        )
    return list(outputs)


def _run_forward(student: nn.Module, features: Tensor) -> Tensor:
    try:
        mask = student(features)
    except Exception as error:  # whatever foreign code raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"forward() failed on features {list(features.shape)}: {reason.rstrip('.')}.",
            hint=INTERFACE,
        ) from error
    if not isinstance(mask, Tensor):
        raise InputError("forward() returns no tensor.", hint="It should return the mask alone.")
    return mask


def _check_mask(method: str, mask: Tensor, frames: int, bins: int) -> None:
    wanted = [(1, channels, frames, bins) for channels in MASKS]
    if tuple(mask.shape) not in wanted:
        raise InputError(
            f"{method}() returns a mask {list(mask.shape)} for {frames} frames of {bins} bins.",
            hint=f"It should be {list(wanted[1])}, or {list(wanted[0])} for a real mask.",
        )
