"""A figure: a number that says where it comes from."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

ARENA_FIGURE = "TFLM arena"  # measured, in bytes, without margin


class Provenance(StrEnum):
    """How a number was obtained. Classes never share a column untagged."""

    MEASURED_DEVICE = "measured-device"
    MEASURED_HOST = "measured-host"
    SIMULATED = "simulated"
    MODELLED = "modelled"
    EXACT = "exact"  # counted from the file or the graph itself


class Figure(BaseModel):
    """One value with unit, provenance class, the tool that gave it and its conditions.

    ``low`` and ``high`` are the range of a modelled figure, whose ``value`` is then no more than
    its middle; or the least and greatest of what was measured or simulated. ``spread`` is that of
    a measured value within its run: nine of ten rounds, each timed in a turn of its own, gave a
    value between the two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    unit: str
    provenance: Provenance
    tool: str
    conditions: str = ""
    low: float | None = None
    high: float | None = None
    spread: tuple[float, float] | None = None
