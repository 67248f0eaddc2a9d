"""How much quality a quantized model may lose against the float one, by metric."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.metrics import METRICS, Scores
from targets.errors import InputError

EXAMPLE = 'For example "pesq=0.05,si_sdr=0.3": at most 0.05 PESQ and 0.3 dB of SI-SDR.'
NEED_A_LISTENER = ("haspi", "hasqi")  # they judge for one audiogram
# What a name means that is neither a metric's nor a field's.
OVERALL = {"dnsmos": "dnsmos_ovrl", "pesq": "pesq_wb"}


@dataclass(frozen=True)
class QualityBudget:
    """Largest loss, in the metric's own unit, by field of :class:`Scores`."""

    losses: Mapping[str, float]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that have to be computed, in the order of their table."""
        return tuple(
            name
            for name, metric in METRICS.items()
            if any(column.field in self.losses for column in metric.columns)
        )

    def lost(self, reference: Scores, scores: Scores) -> dict[str, float | None]:
        """Loss of each metric in the budget; None where it could not be measured."""
        found: dict[str, float | None] = {}
        for field in self.losses:
            before, after = getattr(reference, field), getattr(scores, field)
            found[field] = None if before is None or after is None else before - after
        return found

    def inside(self, losses: Mapping[str, float | None]) -> bool:
        """Whether every loss was measured and is within its limit."""
        return all(
            loss is not None and loss <= self.losses[field] for field, loss in losses.items()
        )

    def __str__(self) -> str:
        return ", ".join(f"{field} ≤ {limit:g}" for field, limit in self.losses.items())


DEFAULT_BUDGET = QualityBudget({"pesq_wb": 0.05, "si_sdr": 0.3})


def parse_budget(text: str) -> QualityBudget:
    """Read ``metric=loss,…``. Raises InputError for unknown metrics and losses that are none."""
    known = _fields()
    losses: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        key = name.strip().lower().replace("-", "_")
        if not key or not equals:
            raise InputError(f"Cannot read the quality budget {text!r}.", hint=EXAMPLE)
        if key in NEED_A_LISTENER:
            raise InputError(f"{key} judges for one listener and has no budget.", hint=EXAMPLE)
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            meant = f"Did you mean {close[0]}? " if close else ""
            names = ", ".join(dict.fromkeys(known))
            raise InputError(
                f"There is no metric {name.strip()!r}.", hint=f"{meant}Known: {names}."
            )
        if known[key] in losses:
            raise InputError(f"The quality budget names {key} twice.", hint=EXAMPLE)
        losses[known[key]] = _loss(key, value)
    return QualityBudget(losses)


def _fields() -> dict[str, str]:
    """What a person may write → field of :class:`Scores`."""
    found = {}
    for name, metric in METRICS.items():
        if name in NEED_A_LISTENER:
            continue
        found[name.replace("-", "_")] = OVERALL.get(name, metric.columns[0].field)
        found.update({column.field: column.field for column in metric.columns})
    return found


def _loss(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise InputError(
            f"The loss of {name} must be a number from 0 up (it is {text.strip()!r}).", hint=EXAMPLE
        )
    return value
