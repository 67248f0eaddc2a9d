"""Which operators of a step must wait for the frame before, and which can hear all frames at once.

A state that remembers what was computed without it is a delay: its whole sequence is known before
it is read. Only operators on a cycle through a state (a GRU's) need a loop over frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from export.step_graph import Operator, State, StepGraph, sources


@dataclass(frozen=True)
class Stage:
    """Operators that run together: over all frames at once, or looped, frame by frame.

    ``states`` are those carried inside a loop. Every other state is a delay.
    """

    operators: tuple[Operator, ...]
    states: tuple[State, ...] = ()

    @property
    def looped(self) -> bool:
        return bool(self.states)


def stages(graph: StepGraph) -> list[Stage]:
    """The operators of a graph in stages, each reading only inputs, delays and earlier stages."""
    maker = {op.output.name: place for place, op in enumerate(graph.operators)}
    remembered = {state.input.name: state.output.name for state in graph.states}
    before: list[list[int]] = []
    for operator in graph.operators:
        names = (remembered.get(source.name, source.name) for source in sources(operator))
        before.append([maker[name] for name in names if name in maker])
    component = _components(before)
    found = []
    for number in range(max(component, default=-1) + 1):
        members = [place for place, own in enumerate(component) if own == number]
        operators = tuple(graph.operators[place] for place in members)
        outputs = {operator.output.name for operator in operators}
        read = {source.name for operator in operators for source in sources(operator)}
        carried = tuple(
            state
            for state in graph.states
            if state.input.name in read and state.output.name in outputs
        )
        found.append(Stage(operators, carried))
    return _joined(found)


def _joined(found: list[Stage]) -> list[Stage]:
    """Neighbours that need no loop become one stage."""
    joined: list[Stage] = []
    for stage in found:
        if joined and not joined[-1].looped and not stage.looped:
            joined[-1] = Stage(joined[-1].operators + stage.operators)
        else:
            joined.append(stage)
    return joined


def _components(before: list[list[int]]) -> list[int]:
    """Number of the strongly connected component of every operator, numbered in an order in which
    each comes after all it depends on (Tarjan 1972)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    component = [-1] * len(before)
    stack: list[int] = []
    count = 0
    for root in range(len(before)):
        if root in index:
            continue
        path = [(root, iter(before[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        while path:
            place, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[place])
                if low[place] == index[place]:
                    while component[place] < 0:
                        component[stack.pop()] = count
                    count += 1
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                path.append((following, iter(before[following])))
            elif component[following] < 0:
                low[place] = min(low[place], index[following])
    return component
