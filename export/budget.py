"""What a network costs on a device, before it is trained: figures, lint and the fit to targets."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from distill.lint import Finding, errors, lint
from distill.unet import UNet
from export.counting import macs_per_frame, parameters_of
from export.footprint import activation_peak, state_values, weight_bytes
from export.formats import FORMATS, Format
from export.rehearsal import Rehearsal, rehearse
from export.subjects import Role, Subject
from runtime.figures import Figure, Provenance
from runtime.profiling.exact import exact
from runtime.profiling.needs_of import needs_of
from runtime.profiling.records import Unavailable
from runtime.stft import StftContract
from targets.errors import InputError
from targets.fit import fit_verdict, time_of
from targets.needs import Needs
from targets.schema import Target
from targets.verdict import FitLine, FitReport, Verdict

DEFAULT_FORMAT: Format = "tflite-int8"
TOOL = "step graph"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetBudget(_Record):
    """One network on one target. ``step_us`` is a range; without one ``step_note`` says why."""

    target: str
    needs: Needs
    fit: FitReport
    step_us: tuple[float, float] | None
    step_note: str


class NetworkBudget(_Record):
    """All that is known of one network. ``decides``: it is the one that ships."""

    role: Role
    name: str
    decides: bool
    exportable: bool
    figures: tuple[Figure, ...]
    unavailable: tuple[Unavailable, ...]
    findings: tuple[Finding, ...]
    targets: tuple[TargetBudget, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of lint and targets."""
        verdicts = {target.fit.verdict for target in self.targets}
        if errors(list(self.findings)) or "does not fit" in verdicts:
            return "does not fit"
        return "unknown" if "unknown" in verdicts else "fits"


def budget(subject: Subject, targets: Sequence[Target]) -> NetworkBudget:
    """Figures, lint and fit of one network; nothing is trained and nothing is kept on disk."""
    network, contract = subject.network, subject.contract
    findings = tuple(lint(network, subject.example))
    reason = ""
    rehearsals: dict[Format, Rehearsal] = {}
    if isinstance(network, UNet):
        try:
            for format in _formats(targets):
                rehearsals[format] = rehearse(network, contract, subject.name, format)
        except InputError as error:
            reason = error.message
    else:
        reason = "sordino exports networks of its own U-Net family only"
    if not reason:
        figures, unavailable = _figures(rehearsals[DEFAULT_FORMAT], subject)
        fits = [_fit(rehearsals[_format_of(target)], target, subject) for target in targets]
    else:
        figures, unavailable, macs = _counted(subject)
        fits = [_fit_of_counted(subject, target, macs, reason) for target in targets]
    return NetworkBudget(
        role=subject.role,
        name=subject.name,
        decides=subject.decides,
        exportable=not reason,
        figures=tuple(figures),
        unavailable=tuple(unavailable),
        findings=findings,
        targets=tuple(fits),
    )


def _format_of(target: Target) -> Format:
    """The target's preferred format among those that sordino writes."""
    known = (name for wanted in target.formats for name in FORMATS if name == wanted)
    return next(known, DEFAULT_FORMAT)


def _formats(targets: Sequence[Target]) -> list[Format]:
    return list(dict.fromkeys((DEFAULT_FORMAT, *map(_format_of, targets))))


def look_ahead_samples(subject: Subject) -> int:
    """Delay that the network itself adds to that of the contract."""
    network = subject.network
    return network.config.look_ahead * subject.contract.hop if isinstance(network, UNet) else 0


def _contract_figures(subject: Subject) -> list[Figure]:
    contract = subject.contract
    delay = contract.algorithmic_delay + look_ahead_samples(subject)
    return [
        exact("steps per second", contract.steps_per_second, "1/s", "contract"),
        exact(
            "algorithmic delay",
            contract.milliseconds(delay),
            "ms",
            "contract",
            "window and look-ahead",
        ),
    ]


def _figures(rehearsal: Rehearsal, subject: Subject) -> tuple[list[Figure], list[Unavailable]]:
    graph, contract = rehearsal.graph, subject.contract
    states = state_values(graph)
    figures = [
        exact("parameters", graph.parameters, "", TOOL, "batch norm folded"),
        exact("work per step", graph.macs, "MAC", TOOL),
        exact("work per second", graph.macs * contract.steps_per_second, "MAC/s", TOOL),
        *_contract_figures(subject),
        exact("states, int8", states, "bytes", TOOL),
        exact("states, float", 4 * states, "bytes", TOOL),
        exact("weights, int8", weight_bytes(graph, 1), "bytes", TOOL, "biases int32"),
        exact("weights, float", weight_bytes(graph, 4), "bytes", TOOL),
        exact(
            "model file, int8",
            rehearsal.sidecar.model.bytes,
            "bytes",
            "file written with made-up ranges",
        ),
        Figure(
            name="activations alive at once, int8",
            value=activation_peak(graph, 1),
            unit="bytes",
            provenance=Provenance.MODELLED,
            tool=TOOL,
            conditions="lifetimes of tensors, states included: no plan of memory needs less",
        ),
    ]
    return [*figures, *rehearsal.arena], list(rehearsal.lacking)


def _counted(subject: Subject) -> tuple[list[Figure], list[Unavailable], int | None]:
    """Figures of a network that has no step graph, and its work per frame where it runs."""
    network, contract = subject.network, subject.contract
    parameters = parameters_of(network)
    tool = "torch"
    figures = [exact("parameters", parameters, "", tool, "batch norm not folded")]
    unavailable = [
        Unavailable(name=name, reason="the network has no step graph")
        for name in ("states", "model file, int8", "activations alive at once, int8", "TFLM arena")
    ]
    try:
        macs = macs_per_frame(network, subject.example)
    except Exception as error:  # whatever a foreign forward raises
        reason = f"the network does not run on the example input: {_line(error)}"
        unavailable.insert(0, Unavailable(name="work per step", reason=reason))
        return [*figures, *_contract_figures(subject)], unavailable, None
    counted = "torch, flop counter"
    figures += [
        exact("work per step", macs, "MAC", counted, "convolutions and matrix products"),
        exact("work per second", macs * contract.steps_per_second, "MAC/s", counted),
        *_contract_figures(subject),
        exact("weights, float", 4 * parameters, "bytes", tool),
    ]
    return figures, unavailable, macs


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _fit(rehearsal: Rehearsal, target: Target, subject: Subject) -> TargetBudget:
    needs = needs_of(rehearsal.sidecar, rehearsal.arena, target)
    # A sidecar never has the look-ahead of the network.
    delay = needs.algorithmic_delay + look_ahead_samples(subject)
    needs = needs.model_copy(update={"algorithmic_delay": delay})
    return _target_budget(fit_verdict(target, needs), target, needs)


def _fit_of_counted(
    subject: Subject, target: Target, macs: int | None, reason: str
) -> TargetBudget:
    """The fit of a network that cannot be exported (yet): bounds, and what is missing."""
    contract = subject.contract
    parameters = parameters_of(subject.network)
    needs = Needs(
        format=_format_of(target),
        parameters=parameters,
        macs_per_step=macs,
        hop_samples=contract.hop,
        sample_rate=contract.sample_rate,
        algorithmic_delay=contract.algorithmic_delay + look_ahead_samples(subject),
        constant_bytes=parameters,
    )
    report = fit_verdict(target, needs)
    verdict: Verdict = "does not fit" if isinstance(subject.network, UNet) else "unknown"
    lines = [FitLine(budget="export", verdict=verdict, note=reason, missing=("a step graph",))]
    lines += [
        _bound(line, parameters)
        for line in report.lines
        if line.budget not in ("format", "operators")
    ]
    return _target_budget(report.model_copy(update={"lines": tuple(lines)}), target, needs)


def _bound(line: FitLine, parameters: int) -> FitLine:
    """A line of what is known without a step graph."""
    notes = {
        "flash": f"a lower bound: one byte for each of {parameters:,} parameters",
        "RAM": "unknown: the arena, without a step graph",
    }
    return line.model_copy(update={"note": notes.get(line.budget, line.note)})


def _target_budget(report: FitReport, target: Target, needs: Needs) -> TargetBudget:
    time = time_of(target, needs)
    known = None if time.high_us is None else (time.low_us, time.high_us)
    return TargetBudget(
        target=target.name, needs=needs, fit=report, step_us=known, step_note=time.missing
    )


def contract_line(contract: StftContract) -> str:
    """The contract in a few words."""
    window, hop = (contract.milliseconds(n) for n in (contract.window_length, contract.hop))
    return f"{contract.sample_rate / 1000:g} kHz, window {window:g} ms, hop {hop:g} ms"
