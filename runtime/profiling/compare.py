"""A profile against an earlier one: what got better, what got worse, what cannot be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.figures import Figure, Provenance
from runtime.profiling.policy import Policy, Rule
from runtime.profiling.records import Machine, ProfileReport, Subject
from targets.errors import GateFailed, GateUnavailable

SCHEMA: Final = "sordino-comparison/1"
Verdict = Literal[
    "better",
    "same",
    "tolerated",  # worse, within the limits
    "noise",  # worse than the limits, and no more than two runs of one program may differ
    "regression",
    "not comparable",
    "missing",
    "new",
    "not judged",  # no rule covers it
]
Effect = Literal["pass", "fail", "warn", "none"]
EFFECTS: Final[dict[str, Effect]] = {
    "better": "pass",
    "same": "pass",
    "tolerated": "pass",
    "noise": "warn",
    "regression": "fail",
    "new": "none",
    "not judged": "none",
}
OF_MISSING: Final[dict[str, Effect]] = {"fail": "fail", "warn": "warn", "ignore": "none"}
MEASURED: Final = (Provenance.MEASURED_HOST, Provenance.MEASURED_DEVICE)
_VERSION = re.compile(r"(?<![\w.])v?(\d+)(?:\.\d+)+[\w.+~-]*")  # 12.2.rel1-1
_DATE = re.compile(r"(?<![\w.])(?:19|20)\d{6}(?![\w.])")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Line(_Record):
    """One figure of one artefact, then and now. ``change_percent`` is that of the value, whichever
    direction is the better one; None where there is nothing to divide."""

    artefact: str
    format: str
    metric: str
    unit: str = ""
    provenance: Provenance | None = None
    base: float | None = None
    new: float | None = None
    change_percent: float | None = None
    limit: str = ""
    verdict: Verdict
    effect: Effect
    reason: str = ""


class Files(_Record):
    """The file of an artefact, then and now; None where a report does not have it."""

    artefact: str
    format: str
    base_sha256: str | None
    new_sha256: str | None

    @property
    def same(self) -> bool:
        return self.base_sha256 == self.new_sha256


class Comparison(_Record):
    """The result of comparing two reports under a policy."""

    schema_version: Literal["sordino-comparison/1"] = Field(SCHEMA, alias="schema")
    policy: str
    base_created: str
    base_command: str
    files: tuple[Files, ...]
    lines: tuple[Line, ...]

    @property
    def failed(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.effect == "fail")

    @property
    def judged(self) -> int:
        """How many figures were compared under a rule."""
        return sum(
            line.verdict in ("better", "same", "tolerated", "noise", "regression")
            for line in self.lines
        )

    def raise_verdict(self) -> None:
        """GateFailed for a regression, or something missing that the policy demands;
        GateUnavailable where no figure at all could be compared."""
        if self.failed:
            first, *more = self.failed
            others = f" and {len(more)} more" if more else ""
            raise GateFailed(
                f"{first.artefact}: {first.metric}: {_told(first)}{others}.",
                hint=self._hint(first),
            )
        if not self.judged:
            raise GateUnavailable(
                "No figure of the two profiles could be compared.",
                hint="Make the base with the same models and places, on the same machine.",
            )

    def _hint(self, line: Line) -> str:
        same = any(
            each.same and (each.artefact, each.format) == (line.artefact, line.format)
            for each in self.files
        )
        if same and line.verdict == "regression" and line.provenance in MEASURED:
            return "The file is the same: the machine was busier, or its tools changed."
        return "Where this is meant, make a new base; else the table says what got worse."


def _told(line: Line) -> str:
    if line.verdict != "regression":
        return f"{line.verdict}, {line.reason}" if line.reason else line.verdict
    change = "" if line.change_percent is None else f" ({line.change_percent:+.2f} %)"
    return f"{line.base:,.10g} became {line.new:,.10g} {line.unit}{change}, limit {line.limit}"


@dataclass(frozen=True)
class _Pair:
    """A figure in the two reports, either of which may lack it."""

    artefact: str
    format: str
    base: Figure | None
    new: Figure | None

    @property
    def known(self) -> Figure:
        found = self.base or self.new
        assert found is not None
        return found


def compare(base: ProfileReport, new: ProfileReport, policy: Policy) -> Comparison:
    """Every figure of two reports under the first rule of ``policy`` that covers it.

    Artefacts are the same that have one name and format, figures that have one name besides. Two
    figures are comparable if unit and class agree and the major versions of their tools, of timings
    on a host the machine, of counts on a simulated core the conditions. One that is not, or that
    the new report lacks, does what its rule says of a missing one; so does a rule for a figure
    named in full that no report has.

    A timing that is worse than the limit counts as noise where its spread overlaps with that of the
    base: each report says between which values nine of ten rounds of its own run had their median,
    and a difference that occurs within one run proves nothing between two.
    """
    subjects = _paired(base, new)
    pairs = [pair for before, after in subjects for pair in _figures(before, after)]
    lines = [
        _line(pair, policy.rule_for(pair.artefact, pair.format, pair.known), base, new)
        for pair in pairs
    ]
    return Comparison(
        policy=policy.name,
        base_created=base.created,
        base_command=base.command,
        files=tuple(_files(before, after) for before, after in subjects),
        lines=(*lines, *_idle(policy, pairs)),
    )


def _paired(base: ProfileReport, new: ProfileReport) -> list[tuple[Subject | None, Subject | None]]:
    """Artefacts of one name and format; of several the first belongs to the first."""
    before, after = _keyed(base), _keyed(new)
    return [(before.get(key), after.get(key)) for key in dict.fromkeys((*before, *after))]


def _keyed(report: ProfileReport) -> dict[tuple[str, str, int], Subject]:
    found: dict[tuple[str, str, int], Subject] = {}
    for subject in report.subjects:
        number = 0
        while (subject.artefact, subject.format, number) in found:
            number += 1
        found[subject.artefact, subject.format, number] = subject
    return found


def _files(before: Subject | None, after: Subject | None) -> Files:
    known = before or after
    assert known is not None
    return Files(
        artefact=known.artefact,
        format=known.format,
        base_sha256=before.sha256 if before else None,
        new_sha256=after.sha256 if after else None,
    )


def _figures(before: Subject | None, after: Subject | None) -> Iterator[_Pair]:
    known = before or after
    assert known is not None
    old = {figure.name: figure for figure in before.all_figures()} if before else {}
    now = {figure.name: figure for figure in after.all_figures()} if after else {}
    for name in dict.fromkeys((*old, *now)):
        yield _Pair(known.artefact, known.format, old.get(name), now.get(name))


def _line(pair: _Pair, rule: Rule | None, base: ProfileReport, new: ProfileReport) -> Line:
    if pair.base is None:
        return _made(pair, rule, "new")
    if rule is None:
        return _made(pair, rule, "not judged")
    if pair.new is None:
        return _made(pair, rule, "missing", _why_missing(pair, new))
    if reason := _difference(pair.base, pair.new, base.machine, new.machine):
        return _made(pair, rule, "not comparable", reason)
    loss = rule.loss(pair.base.value, pair.new.value)
    if rule.tolerates(pair.base.value, pair.new.value):
        return _made(pair, rule, "same" if loss == 0 else "better" if loss < 0 else "tolerated")
    if reason := _overlap(pair.base, pair.new):
        return _made(pair, rule, "noise", reason)
    return _made(pair, rule, "regression")


def _made(pair: _Pair, rule: Rule | None, verdict: Verdict, reason: str = "") -> Line:
    base, new = pair.base, pair.new
    change = None
    if base and new and base.unit == new.unit and base.value:
        change = 100.0 * (new.value - base.value) / abs(base.value)
    effect = EFFECTS.get(verdict) or OF_MISSING[rule.missing if rule else "ignore"]
    return Line(
        artefact=pair.artefact,
        format=pair.format,
        metric=pair.known.name,
        unit=pair.known.unit,
        provenance=pair.known.provenance,
        base=base.value if base else None,
        new=new.value if new else None,
        change_percent=change,
        limit=rule.limit(pair.known.unit) if rule else "",
        verdict=verdict,
        effect=effect,
        reason=reason,
    )


def _why_missing(pair: _Pair, new: ProfileReport) -> str:
    """What the new report itself says about it."""
    if not any((s.artefact, s.format) == (pair.artefact, pair.format) for s in new.subjects):
        return "the new profile does not have this artefact"
    lacking = [
        *(part for s in new.subjects for reading in s.readings for part in reading.unavailable),
        *new.unavailable,
    ]
    said = next((part.reason for part in lacking if part.name == pair.known.name), "")
    return said or "the new profile does not have it"


def _difference(base: Figure, new: Figure, then: Machine, now: Machine) -> str:
    """Why two figures cannot be compared, empty if they can."""
    if base.unit != new.unit:
        return f"{base.unit or 'no unit'} and {new.unit or 'no unit'}"
    if base.provenance is not new.provenance:
        return f"{base.provenance} and {new.provenance}"
    if base.provenance is Provenance.MEASURED_HOST and _identity(then) != _identity(now):
        return f"made on {_described(then)} and on {_described(now)}"
    if _major(base.tool) != _major(new.tool):
        return f"made by {base.tool} and by {new.tool}"
    simulated = base.provenance is Provenance.SIMULATED
    if simulated and _major(base.conditions) != _major(new.conditions):
        return f"{base.conditions} and {new.conditions}"
    return ""


def _identity(machine: Machine) -> tuple[str, int, str]:
    """Machines are one if processor, cores and kind of system agree; its releases come and go."""
    return machine.processor, machine.logical_cores, machine.system.partition(" ")[0]


def _described(machine: Machine) -> str:
    return f"{machine.processor} ({machine.logical_cores} cores, {machine.system})"


def _major(tool: str) -> str:
    """A tool and the major versions of all that is named in it."""
    return " ".join(_DATE.sub("", _VERSION.sub(r"\1", tool)).split())


def _overlap(base: Figure, new: Figure) -> str:
    """Why a difference of two measurements may be chance, empty where that cannot be said."""
    if base.provenance not in MEASURED or base.spread is None or new.spread is None:
        return ""
    (low, high), (least, most) = base.spread, new.spread
    if low > most or least > high:
        return ""
    return (
        f"rounds had medians of {low:.4g} to {high:.4g} then and of {least:.4g} to {most:.4g} "
        f"{new.unit} now"
    )


def _idle(policy: Policy, pairs: list[_Pair]) -> Iterator[Line]:
    """Rules for a figure named in full that neither report has."""
    for rule in policy.rules:
        demanded = rule.names_one and rule.missing != "ignore"
        if demanded and not any(
            rule.covers(pair.artefact, pair.format, pair.known) for pair in pairs
        ):
            yield Line(
                artefact=rule.subject,
                format="",
                metric=rule.metric,
                unit=rule.unit or "",
                limit=rule.limit(rule.unit or ""),
                verdict="missing",
                effect=OF_MISSING[rule.missing],
                reason="neither profile has it",
            )
