"""The static memory plan: which buffers share bytes, and where each one lies.

First buffers are tied together where that saves a copy or memory: what a reshape, slice or
concatenation moves lies inside its source or its result, a state's new value takes the place of
the old one, an elementwise result that of its operand (:mod:`export.c.tying` says when). Then the
groups are placed (:mod:`export.c.placement`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from export.c.call import Copy
from export.c.placement import Group, Member, live_bytes, place
from export.c.problem import Problem
from export.c.tying import Tying, worth_tying

ALIGNMENT = 8  # of groups: what the 64-bit member of the struct guarantees


@dataclass(frozen=True)
class Place:
    """Byte ``offset`` of the plan's memory (``owner`` None) or of somebody else's buffer."""

    owner: int | None
    offset: int


@dataclass(frozen=True)
class Plan:
    """Where every buffer lies, and the memory needed.

    ``lower_bound`` is the most bytes that matter at one time, those tied together counted once.
    """

    places: tuple[Place, ...]
    size: int
    lower_bound: int

    def remaining(self, copies: Iterable[Copy]) -> tuple[Copy, ...]:
        """Those copies whose source and destination are not the same bytes."""
        return tuple(copy for copy in copies if self._start(copy) != self._stop(copy))

    def _start(self, copy: Copy) -> Place:
        place = self.places[copy.source]
        return Place(place.owner, place.offset + copy.source_offset)

    def _stop(self, copy: Copy) -> Place:
        place = self.places[copy.destination]
        return Place(place.owner, place.offset + copy.destination_offset)


def plan(problem: Problem, alignment: int = ALIGNMENT) -> Plan:
    """Plan a problem; every group of tied buffers starts at a multiple of ``alignment``."""
    tying = Tying(problem)
    for tie in worth_tying(problem):
        tying.tie(tie)
    spans = problem.lifetimes()
    places: dict[int, Place] = {}
    ours: list[tuple[list[int], Group]] = []
    for members in tying.groups():
        owner = tying.owner(members)
        base = members[owner] if owner is not None else min(members.values())
        if owner is not None:
            places.update((index, Place(owner, offset - base)) for index, offset in members.items())
            continue
        group = Group(
            tuple(
                Member(offset - base, problem.buffers[index].size, spans[index])
                for index, offset in members.items()
            )
        )
        ours.append((list(members), group))
    groups = [group for _, group in ours]
    placement = place(groups, alignment)
    for (indices, group), base in zip(ours, placement.bases, strict=True):
        for index, member in zip(indices, group.members, strict=True):
            places[index] = Place(None, base + member.offset)
    return Plan(
        tuple(places[index] for index in range(len(problem.buffers))),
        placement.size,
        live_bytes(groups),
    )
