"""Operators of an artefact: shapes, work and traffic from its file, shares of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.profiling.records import OperatorRow


def shares(rows: Sequence[OperatorRow]) -> tuple[float | None, ...]:
    """The part of the whole that each row took, from 0 to 1.

    Of the values where there are any, which must then be in one unit; of the MACs where nothing was
    measured. None for a row without a value, and for all where there is no whole.
    """
    measured = any(row.value is not None for row in rows)
    amounts = [row.value if measured else row.macs for row in rows]
    units = {row.unit for row in rows if row.value is not None}
    total = sum(amount for amount in amounts if amount is not None)
    if len(units) > 1 or total <= 0:
        return (None,) * len(rows)
    return tuple(None if amount is None else amount / total for amount in amounts)
