"""Placing groups of buffers in one piece of memory, as low as they go.

Greedy: the next group goes to the lowest byte where it disturbs nobody. Ordering by size is the
usual choice (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020,
section 5); longer lives and size times life are tried as well, and where the best of them wastes
memory, orders that differ from it in one place.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from export.c.problem import Span

TRIALS = 30_000  # placed groups in the search for a better order: half a second
ROUNDS = 25  # changes of the order per group; beyond them nothing got smaller


@dataclass(frozen=True)
class Member:
    """A buffer of a group: its first byte relative to the group's, and when it matters."""

    offset: int
    size: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Group:
    """Buffers that keep their distances; the lowest offset is 0."""

    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        return max(member.offset + member.size for member in self.members)

    @property
    def hull(self) -> Span:
        """From the first to the last time one of the members matters."""
        spans = [span for member in self.members for span in member.spans]
        return min(first for first, _ in spans), max(last for _, last in spans)

    @property
    def life(self) -> int:
        return sum(last - first + 1 for member in self.members for first, last in member.spans)


Order = Callable[[Group], tuple[int, ...]]
_ORDERS: tuple[Order, ...] = (
    lambda group: (-group.size, -group.life),
    lambda group: (-group.life, -group.size),
    lambda group: (-group.size * group.life,),
    lambda group: (group.members[0].spans[0][0], -group.size),
)


@dataclass(frozen=True)
class Placement:
    """First bytes of the groups and the bytes they need together."""

    bases: tuple[int, ...]
    size: int


def place(groups: Sequence[Group], alignment: int) -> Placement:
    """Bases that are multiples of ``alignment``; the same groups get the same ones."""
    if not groups:
        return Placement((), 0)
    search = _Search(groups, alignment)
    bound = live_bytes(groups)
    best, order = min(
        ((search.in_order(order), order) for order in _orders(groups)),
        key=lambda found: found[0].size,
    )
    generator = random.Random(0)
    for _ in range(min(ROUNDS * len(groups), TRIALS // len(groups))):
        if best.size <= bound:
            break
        changed = list(order)
        moved = changed.pop(generator.randrange(len(order)))
        changed.insert(generator.randrange(len(order)), moved)
        found = search.in_order(changed, best.size)
        if found.size <= best.size:
            best, order = found, changed
    return best


def live_bytes(groups: Sequence[Group]) -> int:
    """The most bytes that matter at one time: no placement is smaller."""
    times = sorted(
        {first for group in groups for member in group.members for first, _ in member.spans}
    )
    live = dict.fromkeys(times, 0)
    for group in groups:
        first, last = group.hull
        for time in times[bisect_left(times, first) : bisect_right(times, last)]:
            live[time] += _covered(group, time)
    return max(live.values(), default=0)


def _orders(groups: Sequence[Group]) -> list[list[int]]:
    return [
        sorted(range(len(groups)), key=lambda index: (*order(groups[index]), index))
        for order in _ORDERS
    ]


class _Search:
    """What does not change from one order to the next."""

    def __init__(self, groups: Sequence[Group], alignment: int) -> None:
        self._sizes = [group.size for group in groups]
        self._alignment = alignment
        hulls = [group.hull for group in groups]
        self._gaps = [
            {
                index: _forbidden(one, other)
                for index, other in enumerate(groups)
                if one is not other and hull[0] <= hulls[index][1] and hulls[index][0] <= hull[1]
            }
            for one, hull in zip(groups, hulls, strict=True)
        ]

    def in_order(self, order: Sequence[int], limit: float = math.inf) -> Placement:
        """Each group at its lowest byte. Incomplete once they need more than ``limit`` bytes."""
        bases: dict[int, int] = {}
        reached = 0
        for index in order:
            taken = sorted(
                (bases[other] + after, bases[other] + before)
                for other, gaps in self._gaps[index].items()
                if other in bases
                for after, before in gaps
            )
            lowest = 0
            for after, before in taken:
                if after < lowest < before:
                    lowest = -(-before // self._alignment) * self._alignment
            bases[index] = lowest
            reached = max(reached, lowest + self._sizes[index])
            if reached > limit:
                break
        return Placement(tuple(bases[index] for index in sorted(bases)), reached)


def _forbidden(one: Group, other: Group) -> list[Span]:
    """Distances (base of one − base of the other) at which members that matter at the same time
    overlap: those strictly between the two ends of a span."""
    found: list[Span] = []
    spans = sorted(
        (b.offset - a.offset - a.size, b.offset + b.size - a.offset)
        for a in one.members
        for b in other.members
        if _meet(a.spans, b.spans)
    )
    for after, before in spans:
        if found and after < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], before))
        else:
            found.append((after, before))
    return found


def _meet(one: tuple[Span, ...], other: tuple[Span, ...]) -> bool:
    """Whether two buffers matter at the same time."""
    return any(a[0] <= b[1] and b[0] <= a[1] for a in one for b in other)


def _covered(group: Group, time: int) -> int:
    """Bytes of a group that matter at ``time``; shared ones count once."""
    total, reached = 0, 0
    for member in sorted(group.members, key=lambda member: member.offset):
        if any(first <= time <= last for first, last in member.spans):
            stop = member.offset + member.size
            total += max(0, stop - max(reached, member.offset))
            reached = max(reached, stop)
    return total
