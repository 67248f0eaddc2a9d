"""What the interpreters compute for the cases of one file."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from runtime.engines.quiet import captured_stderr
from tests.export.c.exactness.files import Array, Case, file_of

SPARE_ARENA = 1 << 20


def tflm(cases: Sequence[Case]) -> list[tuple[Array, ...]]:
    """The outputs of each case in TFLM's interpreter."""
    return tflm_rounds([cases])[0]


def tflm_rounds(rounds: Sequence[Sequence[Case]]) -> list[list[tuple[Array, ...]]]:
    """The same for cases that differ from round to round in nothing but what they are fed."""
    runtime, cases = _tflm(), rounds[0]
    content = file_of(cases)
    values = sum(
        int(np.prod(value.shape)) * 8
        for case in cases
        for value in (*case.inputs, *case.outputs)
        if value is not None
    )
    arena = SPARE_ARENA + 2 * len(content) + 4 * values
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
    results = []
    for fed in rounds:
        for index, feed in enumerate(feed for case in fed for feed in case.feeds):
            interpreter.set_input(feed, index)
        interpreter.invoke()
        indices = itertools.count()
        results.append(
            [tuple(interpreter.get_output(next(indices)) for _ in case.outputs) for case in cases]
        )
    return results


@functools.cache
def _tflm() -> Any:
    """TFLM's Python package, kept from parsing every model for resource variables: there are none,
    and it takes longer than all the rest."""
    from tflite_micro import runtime

    runtime.count_resource_variables = lambda model: 0
    return runtime


def litert_reference(cases: Sequence[Case]) -> list[tuple[Array, ...]]:
    """The outputs of each case in LiteRT's reference kernels."""
    content = file_of(cases)
    with captured_stderr():
        interpreter = Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        )
        interpreter.allocate_tensors()
    indices = iter(details["index"] for details in interpreter.get_input_details())
    for case in cases:
        for feed in case.feeds:
            interpreter.set_tensor(next(indices), feed)
    interpreter.invoke()
    found = iter(details["index"] for details in interpreter.get_output_details())
    return [tuple(interpreter.get_tensor(next(found)) for _ in case.outputs) for case in cases]
