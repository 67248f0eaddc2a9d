"""Whether exported models fit the devices they were exported for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from export.formats import Format
from runtime.artefact import Artefact
from runtime.profiling.arena import arena_figures
from runtime.profiling.needs_of import needs_of
from targets.errors import GateFailed, GateUnavailable
from targets.remedies import advise
from targets.schema import Target
from targets.verdict import FitLine, FitReport


def fits(
    artefacts: Sequence[Artefact], devices: Mapping[Format, Sequence[Target]]
) -> list[FitReport]:
    """The verdict for every device, on the artefact in the format that was chosen for it.

    Where it does not fit, the other artefacts may be the remedy.
    """
    if not any(devices.values()):
        return []
    arenas = {artefact.path: arena_figures(artefact)[0] for artefact in artefacts}
    reports = []
    for artefact in artefacts:
        wanted = next(
            (targets for format, targets in devices.items() if format == artefact.sidecar.target),
            (),
        )
        for target in wanted:
            needs = {
                other.path: needs_of(other.sidecar, arenas[other.path], target)
                for other in artefacts
            }
            chosen = needs.pop(artefact.path)
            reports.append(advise(target, chosen, list(needs.values())))
    return reports


def refuse_misfits(reports: Sequence[FitReport]) -> None:
    """Raise GateFailed where an artefact does not fit its device, GateUnavailable where that cannot
    be told. The artefacts are written all the same: they are right, and may be measured."""
    for report in reports:
        if lines := [line for line in report.lines if line.verdict == "does not fit"]:
            raise GateFailed(
                f"The artefacts are written, but do not fit {report.target}: "
                f"{'; '.join(map(_excess, lines))}.",
                hint=_remedy(report),
            )
    for report in reports:
        if unknown := [line for line in report.lines if line.verdict == "unknown"]:
            raise GateUnavailable(
                f"The artefacts are written, but whether they fit {report.target} is not known: "
                f"{'; '.join(map(_missing, unknown))}.",
                hint="State what is missing in a profile of your own (.toml), or measure it.",
            )


def _excess(line: FitLine) -> str:
    if line.needs is None or line.offers is None:
        return f"{line.budget} ({line.note})"
    return f"{line.budget} needs {line.needs:,.0f} {line.unit} of {line.offers:,.0f}"


def _remedy(report: FitReport) -> str:
    networks = "`sordino budget` names a smaller network that would."
    if not report.remedies:
        return networks
    return f"Cheapest change: {report.remedies[0].text}. {networks}"


def _missing(line: FitLine) -> str:
    return f"{line.budget} ({', '.join(line.missing) or line.note})"
