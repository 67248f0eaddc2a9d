"""Who reads what in a list of operators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from export.step_graph import Operator, sources

Readers = defaultdict[str, list[Operator]]


def readers_of(operators: Sequence[Operator]) -> Readers:
    """Operators by the tensor they read; one that reads it twice stands there twice."""
    readers: Readers = defaultdict(list)
    for operator in operators:
        for source in sources(operator):
            readers[source.name].append(operator)
    return readers
