"""What the bytes of a tensor are, so that two tensors can be seen to hold the same ones.

Operators that only move values make tensors whose bytes are those of others. A content lists where
each byte was first written: runs of ``(length, origin, offset in the origin)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Run = tuple[int, int, int]


@dataclass(frozen=True)
class Content:
    """Runs in order, neighbours joined, so that equal contents are equal objects."""

    runs: tuple[Run, ...]

    def cut(self, start: int, size: int) -> Content:
        """``size`` bytes from byte ``start``."""
        found, at = [], 0
        for length, origin, offset in self.runs:
            low, high = max(at, start), min(at + length, start + size)
            if low < high:
                found.append((high - low, origin, offset + low - at))
            at += length
        return Content(_joined(found))


def written(origin: int, size: int) -> Content:
    """The content of a tensor that an operator computes."""
    return Content(((size, origin, 0),))


def gathered(parts: Iterable[tuple[int, Content]]) -> Content:
    """Contents side by side, each given with the byte at which it starts."""
    ordered = sorted(parts, key=lambda part: part[0])
    return Content(_joined([run for _, content in ordered for run in content.runs]))


def _joined(runs: Iterable[Run]) -> tuple[Run, ...]:
    joined: list[Run] = []
    for length, origin, offset in runs:
        if joined:
            before, source, start = joined[-1]
            if source == origin and start + before == offset:
                joined[-1] = (before + length, origin, start)
                continue
        joined.append((length, origin, offset))
    return tuple(joined)
