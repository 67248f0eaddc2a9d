"""Making gate results."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.artefact import GateResult


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
