"""Taking turns, proven by a log instead of a clock."""

from __future__ import annotations

import gc
from itertools import groupby

import numpy as np
import pytest

from runtime.turns import (
    CHUNK_HOPS,
    LEAST_ROUNDS,
    SETTLE_HOPS,
    WARM_UP_HOPS,
    Take,
    rounds_until,
    take_turns,
    timed,
)

ROUNDS = 12


class Logged:
    """Contestants that note when they are called; every hop "takes" the number of the call."""

    def __init__(self, parts: dict[str, tuple[str, ...]]) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.announced: list[int] = []
        self.contestants = [
            {part: self._take(name, part) for part in names} for name, names in parts.items()
        ]

    def _take(self, name: str, part: str) -> Take:
        def take(count: int) -> list[int]:
            self.calls.append((name, part, count))
            return [len(self.calls)] * count

        return take


def test_everybody_has_one_turn_in_every_round() -> None:
    log = Logged({"a": ("step", "hop"), "b": ("step",), "c": ("step", "hop")})
    taken = take_turns(log.contestants, range(ROUNDS), log.announced.append)
    parts = [("a", "step"), ("a", "hop"), ("b", "step"), ("c", "step"), ("c", "hop")]
    assert log.calls[:5] == [(*part, WARM_UP_HOPS) for part in parts]
    calls = log.calls[5:]
    assert calls[::2] == [(name, part, SETTLE_HOPS) for name, part, _ in calls[1::2]]
    for number in range(ROUNDS):
        of_round = calls[10 * number : 10 * number + 10][1::2]
        assert sorted(of_round) == sorted((*part, CHUNK_HOPS) for part in parts)
        # A contestant's parts stand together, its network first.
        assert len(list(groupby(name for name, _, _ in of_round))) == 3
        assert [part for name, part, _ in of_round if name == "a"] == ["step", "hop"]
    assert [list(found) for found in taken] == [["step", "hop"], ["step"], ["step", "hop"]]
    for found in taken:
        for durations in found.values():
            assert durations.shape == (ROUNDS, CHUNK_HOPS)
            assert (np.diff(durations[:, 0]) > 0).all()


def test_the_order_changes_from_round_to_round_and_is_told() -> None:
    log = Logged(dict.fromkeys("abc", ("step",)))
    take_turns(log.contestants, range(ROUNDS), log.announced.append)
    assert log.announced[:3] == [0, 1, 2]
    orders = {tuple(log.announced[3 + 3 * n : 6 + 3 * n]) for n in range(ROUNDS)}
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len(orders) > 2
    names = [name for name, _, count in log.calls if count == CHUNK_HOPS]
    assert ["abc".index(name) for name in names] == log.announced[3:]


def test_garbage_is_not_collected_meanwhile_and_is_afterwards() -> None:
    seen = []

    def take(count: int) -> list[int]:
        seen.append(gc.isenabled())
        return [1] * count

    take_turns([{"step": take}], range(2))
    assert seen == [True, False, False, False, False]
    assert gc.isenabled()

    def fails(count: int) -> list[int]:
        if count == CHUNK_HOPS:
            raise RuntimeError
        return []

    with pytest.raises(RuntimeError):
        take_turns([{"step": fails}], range(2))
    assert gc.isenabled()


def test_arguments_are_gone_through_in_turn() -> None:
    heard: list[int] = []
    take = timed(heard.append, [1, 2, 3])
    assert len(take(2)) == 2
    assert all(duration >= 0 for duration in take(3))
    assert heard == [1, 2, 3, 1, 2]


def test_what_is_prepared_is_what_is_called() -> None:
    heard: list[int] = []
    assert len(timed(heard.append, [1, 2], lambda number: 10 * number)(3)) == 3
    assert heard == [10, 20, 10]


def test_time_that_is_up_still_leaves_enough_rounds() -> None:
    assert list(rounds_until(0.0)) == list(range(LEAST_ROUNDS))
