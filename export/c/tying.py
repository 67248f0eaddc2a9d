"""Which buffers may lie inside one another: groups of buffers at fixed distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from export.c.problem import Problem


@dataclass(frozen=True)
class Tie:
    """Byte ``offset`` of ``one`` is the first byte of ``other``; it may lie before ``one``."""

    one: int
    other: int
    offset: int


def worth_tying(problem: Problem) -> Iterator[Tie]:
    """Every tie that saves something: first copies, then copies of states, then memory."""
    for step in problem.steps:
        for copy in step.copies:
            yield Tie(copy.source, copy.destination, copy.source_offset - copy.destination_offset)
    for before, after in problem.states:
        yield Tie(before, after, 0)
    for step in problem.steps:
        for read, write in sorted(step.in_place):
            yield Tie(read, write, 0)


class Tying:
    """Groups that grow by ties, as long as no byte is overwritten while it matters."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._spans = problem.lifetimes()
        self._contents = problem.contents()
        self._states = frozenset(problem.states)
        self._homes = frozenset(before for before, _ in problem.states)
        self._group = {index: {index: 0} for index in range(len(problem.buffers))}

    def groups(self) -> list[dict[int, int]]:
        """Per group: buffer → byte at which it starts, relative to the others."""
        return list({id(group): group for group in self._group.values()}.values())

    def tie(self, tie: Tie) -> bool:
        """Join the groups of two buffers; False, and nothing changes, where that cannot be."""
        one, other = self._group[tie.one], self._group[tie.other]
        if one is other:
            return one[tie.one] + tie.offset == one[tie.other]
        shift = one[tie.one] + tie.offset - other[tie.other]
        moved = {index: offset + shift for index, offset in other.items()}
        if not self._belong(one | moved):
            return False
        for index, offset in one.items():
            if any(self._clash(index, offset, *member) for member in moved.items()):
                return False
        one.update(moved)
        for index in moved:
            self._group[index] = one
        return True

    def owner(self, members: dict[int, int]) -> int | None:
        """The buffer of a group that belongs to somebody else, None where all is memory."""
        buffers = self._problem.buffers
        return next((index for index in members if buffers[index].role != "memory"), None)

    def _belong(self, members: dict[int, int]) -> bool:
        """Whether members fit into somebody else's buffer, if one of them is such."""
        buffers = self._problem.buffers
        owners = [index for index in members if buffers[index].role != "memory"]
        if not owners:
            return True
        if len(owners) > 1 or not self._homes.isdisjoint(members):
            return False
        owner = owners[0]
        for index, offset in members.items():
            start = offset - members[owner]
            if start < 0 or start + buffers[index].size > buffers[owner].size:
                return False
            if buffers[owner].role != "output":  # not to be written to
                held = self._contents[owner].cut(start, buffers[index].size)
                if held != self._contents[index]:
                    return False
        return True

    def _clash(self, one: int, start: int, other: int, begin: int) -> bool:
        """Whether two buffers at these bytes would destroy what the other still needs."""
        buffers = self._problem.buffers
        low = max(start, begin)
        size = min(start + buffers[one].size, begin + buffers[other].size) - low
        if size <= 0:
            return False
        common = [
            (max(first[0], second[0]), min(first[1], second[1]), number, count)
            for number, first in enumerate(self._spans[one])
            for count, second in enumerate(self._spans[other])
        ]
        return any(
            since <= until
            # A second span is that of the state's new value, whose bytes are not yet known.
            and not (
                number == count == 0 and self._same(one, low - start, other, low - begin, size)
            )
            and not (start == begin and self._replaces(since, until, one, other))
            and not (since == len(self._problem.steps) and self._is_state(one, other))
            for since, until, number, count in common
        )

    def _same(self, one: int, start: int, other: int, begin: int, size: int) -> bool:
        return self._contents[one].cut(start, size) == self._contents[other].cut(begin, size)

    def _replaces(self, since: int, until: int, one: int, other: int) -> bool:
        """Whether they only meet in a step that may write one over the other."""
        steps = self._problem.steps
        if since != until or not 0 <= since < len(steps):
            return False
        for read, written in ((one, other), (other, one)):
            if (read, written) in steps[since].in_place:
                first_written, last_read = self._spans[written][0][0], self._spans[read][0][1]
                return first_written == last_read == since
        return False

    def _is_state(self, one: int, other: int) -> bool:
        """A state's new value may overlap its place: it is moved there when all else is done."""
        return (one, other) in self._states or (other, one) in self._states
