"""Random cases through TFLM and through the C kernels, every value compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.c.call import Call, Lowered, Refused
from export.c.model import CModel, COperator
from export.c.operators.table import lower
from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import Array, Case, model_of
from tests.export.c.exactness.library import KernelLibrary, Memory
from tests.export.c.exactness.oracles import tflm_rounds

Generator = Callable[[Drawer, str], Case]
BATCH = 100  # cases in one file
# Of the largest value beside it, or of 0.01. Sums are in another order than TFLM's, and its
# logistic is e^x below −9.
FLOAT_TOLERANCE = 2e-6


@dataclass(frozen=True)
class Failure:
    """A case whose values differ, or that the C generator refuses."""

    case: Case
    seed: tuple[int, int]  # of the run, of the case
    reason: str

    @property
    def size(self) -> int:
        values = (*self.case.inputs, *self.case.outputs)
        return sum(int(np.prod(value.shape)) for value in values if value is not None)

    def __str__(self) -> str:
        case = self.case
        options = vars(case.options) if case.options is not None else {}
        lines = [f"{case.operator} differs, seed {list(self.seed)}, options {options}"]
        for label, values in (("input", case.inputs), ("output", case.outputs)):
            lines += [f"  {label} {value}" for value in values]
        return "\n".join([*lines, f"  {self.reason}"])


@dataclass(frozen=True)
class Outcome:
    cases: int
    values: int
    failures: tuple[Failure, ...]

    def assert_exact(self) -> None:
        """Raise AssertionError with the smallest failing case."""
        if self.failures:
            smallest = min(self.failures, key=lambda failure: failure.size)
            raise AssertionError(f"{len(self.failures)} of {self.cases} cases fail\n{smallest}")


def compare(
    generator: Generator, dtype: str, libraries: Sequence[KernelLibrary], count: int, seed: int = 0
) -> Outcome:
    """Run ``count`` cases of a generator, two with the same parameters and other inputs each time.

    The second of the two writes its output in place of an input, where the kernel may.
    The same seed gives the same cases.
    """
    failures: list[Failure] = []
    values, pairs = 0, -(-count // 2)
    for start in range(0, pairs, BATCH):
        numbers = range(start, min(start + BATCH, pairs))
        drawers = [Drawer((seed, number)) for number in numbers]
        cases = [generator(drawer, dtype) for drawer in drawers]
        again = [
            replace(case, feeds=drawer.feeds(*case.inputs))
            for drawer, case in zip(drawers, cases, strict=True)
        ]
        expected = zip(*tflm_rounds([cases, again]), strict=True)
        model = model_of(cases)
        for number, both, wanted in zip(
            numbers, zip(cases, again, strict=True), expected, strict=True
        ):
            values += sum(array.size for arrays in wanted for array in arrays)
            failed = _difference(model, number - start, both, wanted, libraries)
            if failed is not None:
                failures.append(Failure(failed[0], (seed, number), failed[1]))
    return Outcome(2 * pairs, values, tuple(failures))


def _difference(
    model: CModel,
    index: int,
    both: tuple[Case, Case],
    wanted: tuple[Sequence[Array], Sequence[Array]],
    libraries: Sequence[KernelLibrary],
) -> tuple[Case, str] | None:
    """The case that fails, if one does, and how."""
    operator, case = model.operators[index], both[0]
    try:
        lowered = lower(model, operator)
        runs = [(0, None), *((1, shared) for shared in _shared(lowered) or (None,))]
        for library in (library for library in libraries if library.differs(lowered)):
            for turn, shared in runs:
                case = both[turn]
                found = outputs_of(model, operator, case, library, lowered, shared)
                for given, right in zip(found, wanted[turn], strict=True):
                    reason = _unequal(given, right)
                    if reason is not None:
                        place = "" if shared is None else f"in place of input {shared}: "
                        return case, f"{library.flavour}: {place}{reason}"
    except (Refused, AssertionError) as wrong:
        return case, str(wrong)
    return None


def outputs_of(
    model: CModel,
    operator: COperator,
    case: Case,
    library: KernelLibrary,
    lowered: Lowered,
    shared: int | None = None,
) -> list[Array]:
    """What the kernels leave in the outputs; ``shared`` is an input that the first one replaces."""
    memory: dict[int, Memory] = {}
    feeds = iter(case.feeds)
    for index in operator.inputs:
        tensor = model.tensors[index] if index >= 0 else None
        if tensor is None:
            continue
        if tensor.data is not None:
            memory[index] = Memory(tensor.data.nbytes, 16, tensor.data)
        else:
            feed = next(feeds)
            memory[index] = Memory(feed.nbytes, feed.itemsize, feed)
    for index in operator.outputs:
        tensor = model.tensors[index]
        size = tensor.elements * np.dtype(tensor.dtype).itemsize
        memory[index] = Memory(size, np.dtype(tensor.dtype).itemsize)
    if shared is not None:
        memory[operator.outputs[0]] = memory[shared]
    library.run(lowered, memory)
    return [
        memory[index].view(model.tensors[index].dtype, model.tensors[index].shape)
        for index in operator.outputs
    ]


def _shared(lowered: Lowered) -> tuple[int, ...]:
    """Tensors among the inputs whose memory the output may take over."""
    if not isinstance(lowered, Call):
        return ()
    return tuple(lowered.inputs[position] for position in lowered.in_place)


def _unequal(given: Array, wanted: Array) -> str | None:
    """Where two arrays differ, in words; floats may by :data:`FLOAT_TOLERANCE`."""
    if wanted.dtype == np.float32:
        limit = FLOAT_TOLERANCE * max(1e-2, float(np.abs(wanted).max(initial=0)))
        wrong = ~(np.abs(given - wanted) <= limit)
    else:
        wrong = given != wanted
    if not wrong.any():
        return None
    at = tuple(int(place[0]) for place in np.nonzero(wrong))
    return (
        f"{int(wrong.sum())} of {wrong.size} values, first at {at}: {given[at]}, TFLM {wanted[at]}"
    )
