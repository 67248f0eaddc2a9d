"""Making gate results, and keeping them by what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.artefact import GateResult


@dataclass(frozen=True)
class Section:
    """The gates of one subject: a model, several models together, a run or a pack."""

    subject: str
    gates: tuple[GateResult, ...]


def judged(
    name: str,
    findings: Sequence[str],
    measured: str,
    limit: str,
    detail: str = "",
    likely: str = "",
) -> GateResult:
    """Passed if there are no findings; the first one is what was measured, the next are detail."""
    if not findings:
        return GateResult(name=name, measured=measured, limit=limit, verdict="pass", detail=detail)
    return GateResult(
        name=name,
        measured=findings[0],
        limit=limit,
        verdict="fail",
        detail="; ".join(findings[1:4]),
        likely=likely,
    )


def unavailable(name: str, limit: str, reason: str) -> GateResult:
    """A gate that could not run: no pass."""
    return GateResult(
        name=name, measured="not measured", limit=limit, verdict="unavailable", detail=reason
    )
