"""What happens inside a network on a short input: every module call, every operator.

Three runs tell what a look at the modules cannot. Two lengths show which axis of a tensor is
time; two inputs that differ from some frame on show whether anything before it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

FRAMES, OTHER_FRAMES = 48, 61  # their difference is a prime: no stride or fold hides behind it
CHANGED = 32  # first frame that differs; a multiple of usual strides along time

Example = Callable[[int], tuple[Tensor, ...]]
"""The inputs of a network for so many frames; shapes without values are enough."""

# Operators that hand on what a convolution or product computed, as far as folding is concerned.
_VIEWS = {"view", "_unsafe_view", "permute", "transpose", "unsqueeze", "squeeze", "t", "alias"}


@dataclass(frozen=True)
class Use:
    """One operator inside one module. ``after`` is the operator that computed its input.

    ``computed`` says of its first and second operand whether it depends on the network's input.
    """

    layer: str
    operator: str  # aten's name, without overload
    after: str
    computed: tuple[bool, bool]


@dataclass
class Call:
    """One call of one module with the tensors that went in and came out."""

    path: str
    module: nn.Module
    inputs: list[Tensor]
    outputs: list[Tensor] = field(default_factory=list)
    inner: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class TimeAxis:
    """The axis of a tensor of ``dims`` axes that grows by ``rate`` for each frame of the input."""

    axis: int
    rate: float
    dims: int


@dataclass(frozen=True)
class TracedCall:
    """A call and its lags: by how many frames an input or output knows the future.

    ``None`` where no single axis of the tensors is time. Negative where it trails.
    """

    path: str
    module: nn.Module
    time: TimeAxis | None  # of the first input
    time_out: TimeAxis | None  # of the first output
    lag_in: int | None
    lag_out: int | None
    inner: tuple[TracedCall, ...]

    def walk(self) -> Iterator[TracedCall]:
        """This call and all inside it."""
        yield self
        for call in self.inner:
            yield from call.walk()


@dataclass(frozen=True)
class Trace:
    """All that three runs of a network showed; ``root`` is the call of the whole."""

    root: TracedCall
    uses: tuple[Use, ...]
    called: frozenset[str]


def trace(network: nn.Module, example: Example, seed: int = 0) -> Trace:
    """Run ``network`` in evaluation mode; whatever its forward raises is raised here,
    ArithmeticError where its output is not finite.

    Training flags and weights are left as they were.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = _filled(example(FRAMES), generator)
    longer = _filled(example(OTHER_FRAMES), generator)
    axes = [_axis(a.shape, b.shape) for a, b in zip(inputs, longer, strict=True)]
    changed = tuple(
        value if axis is None else _changed_from(value, axis, generator)
        for value, axis in zip(inputs, axes, strict=True)
    )
    device = next(iter(network.parameters()), torch.empty(0)).device
    with evaluating(network), torch.no_grad():
        first = _run(network, [value.to(device) for value in inputs])
        second = _run(network, [value.to(device) for value in changed])
        recorder = _Recorder()
        other = _run(network, [value.to(device) for value in longer], recorder)
    if not all(bool(torch.isfinite(value).all()) for value in (*first.outputs, *second.outputs)):
        raise ArithmeticError("its output is not finite")
    root = _combined(first, second, _by_path(first), _by_path(other))
    called = frozenset(call.path for call in root.walk())
    return Trace(root, tuple(dict.fromkeys(recorder.uses)), called)


def _filled(values: Sequence[Tensor], generator: torch.Generator) -> tuple[Tensor, ...]:
    return tuple(
        torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in values
    )


def _changed_from(value: Tensor, axis: TimeAxis, generator: torch.Generator) -> Tensor:
    start = round(CHANGED * axis.rate)
    result = value.clone()
    later = result.narrow(axis.axis, start, value.shape[axis.axis] - start)
    later.copy_(3.0 * torch.randn(later.shape, generator=generator, dtype=later.dtype))
    return result


def _axis(shape: torch.Size, other: torch.Size) -> TimeAxis | None:
    """The one axis that differs between two lengths of input."""
    if len(shape) != len(other):
        return None
    differing = [k for k, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
    if len(differing) != 1:
        return None
    rate = (other[differing[0]] - shape[differing[0]]) / (OTHER_FRAMES - FRAMES)
    if rate <= 0.0:
        return None
    snapped = float(round(rate)) if rate > 0.8 else 1.0 / round(1.0 / rate)
    return TimeAxis(differing[0], snapped, len(shape))


def _lag(first: Sequence[Tensor], second: Sequence[Tensor], other: Sequence[Tensor]) -> int | None:
    """The largest number of frames by which any of the tensors knows the change beforehand."""
    lags = []
    for a, b, c in zip(first, second, other, strict=False):
        axis = _axis(a.shape, c.shape)
        if axis is None or a.shape != b.shape:
            continue
        # Bit for bit: a frame that hears nothing new is computed by the same arithmetic.
        rows = (a != b).movedim(axis.axis, 0).flatten(1).any(dim=1)
        moved = torch.nonzero(rows)
        if len(moved):
            lags.append(CHANGED - int(int(moved[0]) / axis.rate))
    return max(lags, default=None)


def _by_path(call: Call) -> Mapping[str, list[Call]]:
    """All calls, in order, under the path of their module."""
    found: dict[str, list[Call]] = {}
    pending = [call]
    while pending:
        current = pending.pop()
        found.setdefault(current.path, []).append(current)
        pending.extend(reversed(current.inner))
    return found


def _combined(
    first: Call,
    second: Call,
    calls: Mapping[str, list[Call]],
    others: Mapping[str, list[Call]],
) -> TracedCall:
    mine, theirs = calls[first.path], others.get(first.path, [])
    # Called once per frame, a module has no time axis of its own.
    other = theirs[mine.index(first)] if len(mine) == len(theirs) else None
    inner = tuple(
        _combined(a, b, calls, others)
        for a, b in zip(first.inner, second.inner, strict=False)
        if a.path == b.path
    )
    if other is None:
        return TracedCall(first.path, first.module, None, None, None, None, inner)
    return TracedCall(
        first.path,
        first.module,
        _first_axis(first.inputs, other.inputs),
        _first_axis(first.outputs, other.outputs),
        _lag(first.inputs, second.inputs, other.inputs),
        _lag(first.outputs, second.outputs, other.outputs),
        inner,
    )


def _first_axis(values: Sequence[Tensor], others: Sequence[Tensor]) -> TimeAxis | None:
    return _axis(values[0].shape, others[0].shape) if values and others else None


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module's flag is put back."""
    flags = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, flag in flags.items():
            module.training = flag


def _run(network: nn.Module, inputs: Sequence[Tensor], recorder: _Recorder | None = None) -> Call:
    """One forward with a record of all module calls."""
    top = Call("", network, [])
    stack = [top]
    if recorder is not None:
        recorder.stack = stack

    def enter(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, named: Any) -> None:
            call = Call(path, module, list(_tensors((arguments, named))))
            stack[-1].inner.append(call)
            stack.append(call)

        return hook

    def leave(module: nn.Module, arguments: Any, result: Any) -> None:
        stack.pop().outputs = list(_tensors(result))

    handles = []
    for path, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(enter(path), with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        if recorder is None:
            network(*inputs)
        else:
            recorder.follow(inputs)
            with recorder:
                network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return top.inner[0]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _tensors(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)


class _Recorder(TorchDispatchMode):
    """Notes every operator on what comes from the input, with the module that is running."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack: list[Call] = []
        self.uses: list[Use] = []
        # Tensors are kept so that neither identity nor memory is used twice.
        self._made: dict[int, tuple[Tensor, str]] = {}
        self._memory: set[int] = set()

    def follow(self, inputs: Sequence[Tensor]) -> None:
        """Weights and constants may be computed with any operator: only these matter."""
        self._memory = {_memory(tensor) for tensor in inputs}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operands = list(_tensors((args, kwargs or {})))
        if not any(self._computed(operand) for operand in operands):
            self._made.update({id(tensor): (tensor, "") for tensor in _tensors(result)})
            return result
        name = func.overloadpacket.__name__
        _, after = self._made.get(id(operands[0]), (None, ""))
        made = after if name in _VIEWS else name
        first, second = (*args, None, None)[:2]
        computed = (self._computed(first), self._computed(second))
        self.uses.append(Use(self.stack[-1].path, name, after, computed))
        for tensor in _tensors(result):
            self._made[id(tensor)] = (tensor, made)
            self._memory.add(_memory(tensor))
        return result

    def _computed(self, operand: Any) -> bool:
        return any(_memory(tensor) in self._memory for tensor in _tensors(operand))


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())
