"""What a fit verdict consists of."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from targets.catalog import Origin

Verdict = Literal["fits", "does not fit", "unknown"]
LineVerdict = Literal["fits", "does not fit", "unknown", "no limit"]
# Where ``needs`` comes from; of several sources the least certain. "none": nothing is known of it.
Basis = Literal["exact", "simulated", "measured-device", "measured-host", "modelled", "none"]
CERTAINTY: tuple[Basis, ...] = (
    "exact",
    "simulated",
    "measured-device",
    "measured-host",
    "modelled",
    "none",
)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FitLine(_Record):
    """One budget. ``needs`` and ``offers`` share ``unit``.

    Of a range, ``low`` to ``high``, ``needs`` is the bound that decides; without ``high`` the need
    is known from below only. ``missing`` names what was not counted, or is not known, and how to
    get it. "no limit": nobody stated one, so nothing is judged.
    """

    budget: str
    verdict: LineVerdict
    needs: float | None = None
    offers: float | None = None
    unit: str = ""
    basis: Basis = "none"
    note: str = ""
    low: float | None = None
    high: float | None = None
    missing: tuple[str, ...] = ()

    @property
    def excess(self) -> float:
        """By how much the need exceeds the offer, 0 when it does not or either is unknown."""
        if self.needs is None or self.offers is None:
            return 0.0
        return max(0.0, self.needs - self.offers)


class Remedy(_Record):
    """Changes after which the target no longer refuses the artefact, which was computed:
    ``verdict`` is that of the changed artefact on the changed target."""

    changes: tuple[str, ...]
    verdict: Verdict

    @property
    def text(self) -> str:
        """The changes in one sentence."""
        return "; and ".join(self.changes)


class FitReport(_Record):
    """All budget lines of one artefact on one target.

    ``remedies``, the cheapest first, are there where it does not fit and one was found.
    """

    target: str
    origin: Origin
    lines: tuple[FitLine, ...]
    remedies: tuple[Remedy, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst line: one that does not fit beats one that is unknown. Lines without a limit
        decide nothing."""
        verdicts = {line.verdict for line in self.lines}
        if "does not fit" in verdicts:
            return "does not fit"
        return "unknown" if "unknown" in verdicts or "fits" not in verdicts else "fits"

    def failing(self) -> tuple[str, ...]:
        """Budgets that are exceeded."""
        return tuple(line.budget for line in self.lines if line.verdict == "does not fit")


def least_certain(*bases: Basis) -> Basis:
    """The basis of a sum, "none" of nothing."""
    return max(bases, key=CERTAINTY.index, default="none")
