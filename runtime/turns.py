"""Timing in turns: everything that is compared takes its turn in every round.

What slows a machine down for a while, another program or a lower clock, then meets all alike. The
order within a round is drawn anew each time, so that nobody always runs after the same neighbour.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, Final

import numpy as np

from runtime.timing import Durations

CHUNK_HOPS: Final = 50  # timed, one after the other, in a turn
SETTLE_HOPS: Final = 5  # before them, untimed: the neighbour before has used the caches
WARM_UP_HOPS: Final = 200  # before the first round
LEAST_ROUNDS: Final = 8  # fewer say nothing about how much rounds differ

Take = Callable[[int], Sequence[int]]
"""Process that many further hops and return the nanoseconds each took."""


def take_turns(
    contestants: Sequence[Mapping[str, Take]],
    rounds: Iterable[object],
    announce: Callable[[int], object] = lambda number: None,
) -> list[dict[str, Durations]]:
    """Durations ``[rounds, CHUNK_HOPS]`` of every part of every contestant.

    A contestant's parts (its network alone, a whole hop) take their turns one after the other.
    ``announce`` is told whose turn it is before it begins.
    """
    order = np.random.default_rng(0)
    taken: list[dict[str, list[Sequence[int]]]] = [{part: [] for part in c} for c in contestants]
    for number, contestant in enumerate(contestants):
        announce(number)
        for take in contestant.values():
            take(WARM_UP_HOPS)
    gc.disable()
    try:
        for _ in rounds:
            for number in map(int, order.permutation(len(contestants))):
                announce(number)
                for part, take in contestants[number].items():
                    take(SETTLE_HOPS)
                    taken[number][part].append(take(CHUNK_HOPS))
    finally:
        gc.enable()
    return [
        {part: np.asarray(turns, dtype=np.int64) for part, turns in parts.items()}
        for parts in taken
    ]


def rounds_until(seconds: float) -> Iterator[int]:
    """Number rounds until ``seconds`` have passed, ``LEAST_ROUNDS`` at least."""
    deadline = time.perf_counter() + seconds
    number = 0
    while number < LEAST_ROUNDS or time.perf_counter() < deadline:
        yield number
        number += 1


def timed(
    call: Callable[[Any], object],
    arguments: Sequence[Any],
    prepare: Callable[[Any], Any] = lambda argument: argument,
) -> Take:
    """Time ``call`` from outside, on each of the ``arguments`` in turn, over and over.

    It is given what ``prepare`` makes of the argument, which is not timed.
    """
    source = cycle(arguments)

    def take(count: int) -> list[int]:
        durations = []
        for _ in range(count):
            argument = prepare(next(source))
            start = time.perf_counter_ns()
            call(argument)
            durations.append(time.perf_counter_ns() - start)
        return durations

    return take
