"""What the memory planner is asked: buffers, and the steps that read and write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from export.c.call import Copy
from export.c.content import Content, gathered, written

Span = tuple[int, int]  # steps, both ends included
Role = Literal["memory", "input", "output", "constant"]  # all but memory belong to others


@dataclass(frozen=True)
class Buffer:
    """Bytes that must lie together. ``input`` and ``constant`` are never written to."""

    size: int
    role: Role = "memory"


@dataclass(frozen=True)
class Step:
    """One call or one set of copies, by indices of buffers.

    ``in_place`` holds pairs (read, write) that may share memory, byte by byte.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    copies: tuple[Copy, ...] = ()
    in_place: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Problem:
    """Steps run in order; then every state ``(before, after)`` takes over what ``after`` holds.

    ``before`` is memory that keeps its bytes from the end of one pass to its last use in the next;
    ``after`` is written by a step and is neither input nor constant.
    """

    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    states: tuple[tuple[int, int], ...] = ()

    def lifetimes(self) -> list[tuple[Span, ...]]:
        """Per buffer the intervals of steps, both ends included, in which its bytes matter.

        −1 is before the first step; ``len(steps)`` is when states are copied.
        """
        end = len(self.steps)
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for index, buffer in enumerate(self.buffers):
            if buffer.role in ("input", "constant"):
                first[index] = -1
            if buffer.role in ("output", "constant"):
                last[index] = end
        for time, step in enumerate(self.steps):
            for index in step.writes:
                first.setdefault(index, time)
            for index in (*step.reads, *step.writes):
                last[index] = max(last.get(index, -1), time)
        for before, after in self.states:
            first[before] = -1
            last[after] = end
        homes = {before for before, _ in self.states}
        spans: list[tuple[Span, ...]] = []
        for index in range(len(self.buffers)):
            start = first.get(index, -1)
            span = (start, max(start, last.get(index, start)))
            spans.append((span, (end, end)) if index in homes else (span,))
        return spans

    def contents(self) -> list[Content]:
        """What every buffer holds: bytes of its own or, where a step copies, those of others."""
        contents = [written(index, buffer.size) for index, buffer in enumerate(self.buffers)]
        for step in self.steps:
            parts: dict[int, list[tuple[int, Content]]] = {}
            for copy in step.copies:
                taken = contents[copy.source].cut(copy.source_offset, copy.size)
                parts.setdefault(copy.destination, []).append((copy.destination_offset, taken))
            for index, found in parts.items():
                contents[index] = gathered(found)
        return contents
