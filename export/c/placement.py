"""Placing groups of buffers in one piece of memory, as low as they go.

The best of several greedy orders: each puts the next group at the lowest byte where it disturbs
nobody. Ordering by size is the usual choice (Pisarchyk and Lee, "Efficient Memory Management for
Deep Neural Net Inference", 2020, section 5); a longer life and the size weighted by it are the
others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from export.c.problem import Span


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
    def life(self) -> int:
        return sum(last - first + 1 for member in self.members for first, last in member.spans)


Order = Callable[[Group], tuple[int, ...]]
_ORDERS: tuple[Order, ...] = (
    lambda group: (-group.size, -group.life),
    lambda group: (-group.life, -group.size),
    lambda group: (-group.size * group.life,),
    lambda group: (group.members[0].spans[0][0], -group.size),
)


def place(groups: Sequence[Group], alignment: int) -> tuple[list[int], int]:
    """First bytes of the groups, multiples of ``alignment``, and the bytes they need together."""
    best: tuple[list[int], int] | None = None
    for order in _ORDERS:
        sequence = sorted(range(len(groups)), key=lambda index: (*order(groups[index]), index))
        found = _in_order(groups, sequence, alignment)
        if best is None or found[1] < best[1]:
            best = found
    return best if best is not None else ([], 0)


def _in_order(
    groups: Sequence[Group], sequence: Sequence[int], alignment: int
) -> tuple[list[int], int]:
    bases = [0] * len(groups)
    placed: list[tuple[int, Member]] = []
    for index in sequence:
        base = _lowest(groups[index], placed, alignment)
        bases[index] = base
        placed += [(base, member) for member in groups[index].members]
    return bases, max((base + member.offset + member.size for base, member in placed), default=0)


def _lowest(group: Group, placed: Sequence[tuple[int, Member]], alignment: int) -> int:
    """The lowest base at which no member overlaps a placed one that matters at the same time."""
    forbidden = sorted(
        (
            base + other.offset - member.offset - member.size,
            base + other.offset + other.size - member.offset,
        )
        for member in group.members
        for base, other in placed
        if spans_meet(member.spans, other.spans)
    )
    lowest = 0
    for after, before in forbidden:  # bases strictly between the two overlap
        if after < lowest < before:
            lowest = -(-before // alignment) * alignment
    return lowest


def spans_meet(one: tuple[Span, ...], other: tuple[Span, ...]) -> bool:
    """Whether two buffers matter at the same time."""
    return any(a[0] <= b[1] and b[0] <= a[1] for a in one for b in other)


def live_bytes(groups: Sequence[Group], end: int) -> int:
    """The most bytes that matter at one time, from before the first step to ``end``."""
    return max(
        (sum(_covered(group, time) for group in groups) for time in range(-1, end + 1)), default=0
    )


def _covered(group: Group, time: int) -> int:
    """Bytes of a group that matter at ``time``; shared ones count once."""
    total, reached = 0, 0
    for member in sorted(group.members, key=lambda member: member.offset):
        if any(first <= time <= last for first, last in member.spans):
            stop = member.offset + member.size
            total += max(0, stop - max(reached, member.offset))
            reached = max(reached, stop)
    return total
