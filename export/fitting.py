"""Whether exported models fit the devices they were exported for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from export.formats import Format
from runtime.artefact import Artefact
from runtime.profiling.arena import arena_figures
from runtime.profiling.needs_of import judge
from targets.errors import GateFailed, GateUnavailable
from targets.fit import FitLine, FitReport
from targets.schema import Target


def fits(
    artefacts: Sequence[Artefact], devices: Mapping[Format, Sequence[Target]]
) -> list[FitReport]:
    """The verdict for every device, on the artefact in the format that was chosen for it."""
    reports = []
    for artefact in artefacts:
        wanted = next(
            (targets for format, targets in devices.items() if format == artefact.sidecar.target),
            (),
        )
        if not wanted:
            continue
        arena, _ = arena_figures(artefact)
        reports += [judge(artefact.sidecar, arena, target) for target in wanted]
    return reports


def refuse_misfits(reports: Sequence[FitReport]) -> None:
    """Raise GateFailed where an artefact does not fit its device, GateUnavailable where that cannot
    be told. The artefacts are written all the same: they are right, and may be measured."""
    for report in reports:
        if lines := [line for line in report.lines if line.verdict == "does not fit"]:
            raise GateFailed(
                f"The artefacts are written, but do not fit {report.target}: "
                f"{'; '.join(map(_excess, lines))}.",
                hint="`sordino budget` names the cheapest change that would.",
            )
    for report in reports:
        if unknown := [line.budget for line in report.lines if line.verdict == "unknown"]:
            raise GateUnavailable(
                f"The artefacts are written, but whether they fit {report.target} is not known: "
                f"{', '.join(unknown)}.",
                hint="Measure on the device, or state the figure in a profile of your own (.toml).",
            )


def _excess(line: FitLine) -> str:
    if line.needs is None or line.offers is None:
        return f"{line.budget} ({line.note})"
    return f"{line.budget} needs {line.needs:,.0f} {line.unit} of {line.offers:,.0f}"
