"""The memory plan: every step finds the bytes it needs, whatever shares memory with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.c.call import Copy
from export.c.planner import Place, Plan, plan
from export.c.problem import Buffer, Problem, Step

Byte = tuple[int, int, int]  # pass, buffer, byte
PASSES = 3


@dataclass
class Machine:
    """Executes a plan with bytes that say where they were first written."""

    problem: Problem
    planned: Plan
    memory: dict[int | None, list[Byte | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory[None] = [None] * self.planned.size
        for index, buffer in enumerate(self.problem.buffers):
            if buffer.role != "memory":
                assert self.planned.places[index] == Place(index, 0)
                self.memory[index] = [None] * buffer.size

    def read(self, index: int) -> list[Byte | None]:
        place, size = self.planned.places[index], self.problem.buffers[index].size
        return self.memory[place.owner][place.offset : place.offset + size]

    def write(self, index: int, values: Sequence[Byte | None], at: int = 0) -> None:
        place = self.planned.places[index]
        if place.owner is not None:
            assert self.problem.buffers[place.owner].role == "output", "written to an input"
        held = self.memory[place.owner]
        assert 0 <= place.offset + at <= place.offset + at + len(values) <= len(held)
        held[place.offset + at : place.offset + at + len(values)] = values


def check(problem: Problem, planned: Plan) -> None:
    """Run some passes; raise AssertionError where a step does not find what it has to."""
    machine = Machine(problem, planned)
    carried = {before: _fresh(-1, before, problem) for before, _ in problem.states}
    for before, values in carried.items():
        machine.write(before, values)
    for number in range(PASSES):
        expected: dict[int, list[Byte]] = dict(carried)
        for index, buffer in enumerate(problem.buffers):
            if buffer.role in ("input", "constant"):
                expected[index] = _fresh(number, index, problem)
                machine.memory[index] = list(expected[index])
        for step in problem.steps:
            _run(machine, expected, step, number)
        for index, buffer in enumerate(problem.buffers):
            if buffer.role == "output":
                assert machine.read(index) == expected[index], "an output was overwritten"
        for before, after in problem.states:
            size = problem.buffers[before].size
            for copy in planned.remaining([Copy(after, before, size)]):
                machine.write(before, machine.read(copy.source))
        carried = {before: expected[after] for before, after in problem.states}
        for before, values in carried.items():
            assert machine.read(before) == values, f"state {before} is lost"


def _run(machine: Machine, expected: dict[int, list[Byte]], step: Step, number: int) -> None:
    for index in step.reads:
        assert machine.read(index) == expected[index], f"buffer {index} was overwritten"
    if step.copies:
        _copy(machine, expected, step)
    else:
        for index in step.writes:
            expected[index] = _fresh(number, index, machine.problem)
            machine.write(index, expected[index])
    for index in step.writes:
        assert machine.read(index) == expected[index], f"buffer {index} is incomplete"


def _fresh(number: int, index: int, problem: Problem) -> list[Byte]:
    return [(number, index, byte) for byte in range(problem.buffers[index].size)]


def _copy(machine: Machine, expected: dict[int, list[Byte]], step: Step) -> None:
    for index in step.writes:
        size = machine.problem.buffers[index].size
        values: list[Byte] = [(-9, index, 0)] * size
        for copy in step.copies:
            if copy.destination == index:
                taken = expected[copy.source][copy.source_offset :][: copy.size]
                values[copy.destination_offset : copy.destination_offset + copy.size] = taken
        expected[index] = values
    for copy in machine.planned.remaining(step.copies):
        moved = machine.read(copy.source)[copy.source_offset :][: copy.size]
        machine.write(copy.destination, moved, copy.destination_offset)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Random straight-line programs with reshapes, slices, splits, concatenations and states."""
    buffers = [Buffer(draw(st.integers(1, 12)), "input")]
    buffers += [
        Buffer(draw(st.integers(1, 12)), "constant") for _ in range(draw(st.integers(0, 1)))
    ]
    homes = range(len(buffers), len(buffers) + draw(st.integers(0, 3)))
    buffers += [Buffer(draw(st.integers(1, 8))) for _ in homes]
    steps: list[Step] = []
    computed: list[int] = []
    for _ in range(draw(st.integers(1, 9))):
        known = list(range(homes.stop)) + computed
        kind = draw(st.sampled_from(["call", "call", "join", "part", "reshape"]))
        reads = tuple(draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)))
        new = len(buffers)
        if kind == "call":
            size = draw(st.sampled_from([buffers[reads[0]].size, draw(st.integers(1, 16))]))
            alike = {(index, new) for index in reads if buffers[index].size == size}
            shared = draw(st.sets(st.sampled_from(sorted(alike)))) if alike else set()
            buffers += [Buffer(size), Buffer(draw(st.integers(1, 8)))]  # the second is scratch
            writes = (new, new + 1) if draw(st.booleans()) else (new,)
            steps.append(Step(reads, writes, in_place=frozenset(shared)))
            if len(writes) == 1:
                buffers.pop()
            computed.append(new)
            continue
        copies = _copies(draw, kind, buffers, reads, new)
        written = tuple(dict.fromkeys(copy.destination for copy in copies))
        sources = tuple(dict.fromkeys(copy.source for copy in copies))
        steps.append(Step(sources, written, copies))
        computed += written
    outputs = draw(st.sets(st.sampled_from(computed), max_size=2))
    for index in outputs:
        buffers[index] = replace(buffers[index], role="output")
    states = []
    for home in homes:
        alike_sizes = [k for k in computed if buffers[k].size == buffers[home].size]
        if alike_sizes:
            states.append((home, draw(st.sampled_from(alike_sizes))))
        else:
            buffers.append(Buffer(buffers[home].size))
            steps.append(Step((), (len(buffers) - 1,)))
            states.append((home, len(buffers) - 1))
    return Problem(tuple(buffers), tuple(steps), tuple(states))


def _copies(
    draw: st.DrawFn, kind: str, buffers: list[Buffer], reads: tuple[int, ...], new: int
) -> tuple[Copy, ...]:
    if kind == "join":
        sizes = [buffers[index].size for index in reads]
        buffers.append(Buffer(sum(sizes)))
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        return tuple(
            Copy(index, new, size, 0, start)
            for index, size, start in zip(reads, sizes, starts, strict=True)
        )
    source, size = reads[0], buffers[reads[0]].size
    if kind == "reshape":
        buffers.append(Buffer(size))
        return (Copy(source, new, size),)
    cut = draw(st.integers(0, size - 1))
    parts = [(start, stop) for start, stop in ((0, cut), (cut, size)) if stop > start]
    parts = parts[-draw(st.integers(1, 2)) :]
    buffers += [Buffer(stop - start) for start, stop in parts]
    return tuple(
        Copy(source, new + place, stop - start, start) for place, (start, stop) in enumerate(parts)
    )


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from([1, 4, 8]))
def test_no_byte_is_overwritten_while_it_is_needed(problem: Problem, alignment: int) -> None:
    planned = plan(problem, alignment)
    check(problem, planned)
    assert planned.lower_bound <= planned.size


def chain(*in_place: bool) -> Problem:
    """Input, then calls of 8 bytes each, the last one an output."""
    buffers = [Buffer(8, "input"), *[Buffer(8) for _ in in_place[:-1]], Buffer(8, "output")]
    steps = [
        Step((index,), (index + 1,), in_place=frozenset({(index, index + 1)} if tied else ()))
        for index, tied in enumerate(in_place)
    ]
    return Problem(tuple(buffers), tuple(steps))


def test_elementwise_operators_work_in_place() -> None:
    assert plan(chain(False, True, True)).size == 0  # all of it in the caller's output
    assert plan(chain(False, False, False, False)).size == 16
    assert plan(chain(False, True, False, False)).size == 16


def test_an_input_is_never_written_to() -> None:
    planned = plan(chain(True, False))
    assert planned.places[1].owner != 0


def test_a_history_window_needs_one_copy() -> None:
    """A state and the new frame lie side by side, so that neither is copied into the window."""
    buffers = (Buffer(8, "input"), Buffer(8), Buffer(8), Buffer(16), Buffer(4, "output"))
    window = Step((1, 2), (3,), (Copy(1, 3, 8), Copy(2, 3, 8, 0, 8)))
    problem = Problem(buffers, (Step((0,), (2,)), window, Step((3,), (4,))), ((1, 2),))
    planned = plan(problem)
    check(problem, planned)
    assert planned.size == 16
    assert not planned.remaining(window.copies)
    assert planned.remaining([Copy(2, 1, 8)])


def test_a_longer_history_moves_up_in_place() -> None:
    buffers = (Buffer(4, "input"), Buffer(8), Buffer(4), Buffer(12), Buffer(8), Buffer(4, "output"))
    window = Step((1, 2), (3,), (Copy(1, 3, 8), Copy(2, 3, 4, 0, 8)))
    tail = Step((3,), (4,), (Copy(3, 4, 8, 4),))
    problem = Problem(buffers, (Step((0,), (2,)), window, tail, Step((3,), (5,))), ((1, 4),))
    planned = plan(problem, alignment=1)
    check(problem, planned)
    assert planned.size == 12
    assert planned.remaining(window.copies) == planned.remaining(tail.copies) == ()


def test_a_state_is_written_in_place_after_its_last_use() -> None:
    buffers = (Buffer(8, "input"), Buffer(8), Buffer(8), Buffer(8, "output"))
    steps = (Step((0, 1), (2,), in_place=frozenset({(1, 2)})), Step((2,), (3,)))
    planned = plan(Problem(buffers, steps, ((1, 2),)))
    assert planned.size == 8
    assert not planned.remaining([Copy(2, 1, 8)])


def test_a_state_that_is_read_late_is_copied() -> None:
    buffers = (Buffer(8, "input"), Buffer(8), Buffer(8), Buffer(8, "output"))
    steps = (Step((0,), (2,)), Step((1, 2), (3,)))
    problem = Problem(buffers, steps, ((1, 2),))
    planned = plan(problem)
    check(problem, planned)
    assert planned.remaining([Copy(2, 1, 8)])


@pytest.mark.parametrize("victim", range(1, 4))
def test_a_plan_with_two_buffers_in_one_place_is_found(victim: int) -> None:
    """The checker of these tests checks: all that is live at once is put where buffer 0 is."""
    buffers = (Buffer(8), Buffer(8), Buffer(8), Buffer(8), Buffer(8, "output"))
    steps = (*(Step((), (index,)) for index in range(4)), Step((0, 1, 2, 3), (4,)))
    problem = Problem(buffers, steps)
    planned = plan(problem)
    check(problem, planned)
    places = list(planned.places)
    places[victim] = places[0]
    with pytest.raises(AssertionError, match="overwritten"):
        check(problem, replace(planned, places=tuple(places)))
