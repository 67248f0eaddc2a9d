"""The profile of one or more artefacts: exact figures, a reading per place, ratios and the fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from runtime.artefact import Artefact, Sidecar
from runtime.devices.cores import CORES
from runtime.doctor import installed_version
from runtime.figures import Figure
from runtime.modelfile.check import checked_bytes
from runtime.profiling.backends import Findings, Place, Request, load_backend
from runtime.profiling.exact import exact_figures
from runtime.profiling.labels import labels
from runtime.profiling.machine import this_machine
from runtime.profiling.modelled import modelled
from runtime.profiling.needs_of import judge, needs_of, simulated_core
from runtime.profiling.operators import with_operators
from runtime.profiling.records import ProfileReport, Ratio, Reading, Subject, Unavailable
from targets.errors import GateUnavailable
from targets.schema import Target

TOOLS = ("sordino", "numpy", "onnxruntime", "ai-edge-litert", "tflite-micro", "ethos-u-vela")

HOST = Place("host")

Announce = Callable[[str], None]  # what is being done now


@dataclass(frozen=True)
class Profiled:
    """A report, and the errors of places that were asked for and could not run."""

    report: ProfileReport
    failures: tuple[GateUnavailable, ...]


def profile(
    artefacts: Sequence[Artefact],
    places: Sequence[Place] = (),
    request: Request | None = None,
    *,
    command: str = "",
    announce: Announce = lambda text: None,
) -> Profiled:
    """Profile artefacts in ``places``, one after the other; none named: see :func:`usual_places`.

    A place that cannot run is listed as unavailable; this host, and one that was asked for, is a
    failure besides. Raises InputError for a model that is damaged, or one that a place named here
    cannot take.
    """
    request = request or Request()
    for artefact in artefacts:
        checked_bytes(artefact)
    asked = bool(places)
    readings: list[list[Reading]] = [[] for _ in artefacts]
    ratios: list[Ratio] = []
    unavailable: list[Unavailable] = []
    failures: list[GateUnavailable] = []
    for place in places or usual_places(artefacts, request.target):
        announce(f"Profiling on {place}")
        try:
            found = _measure(place, artefacts, request)
        except GateUnavailable as error:
            reason = " ".join(filter(None, (error.message, error.hint)))
            unavailable.append(Unavailable(name=str(place), reason=reason))
            failures += [error] if asked or place == HOST else []
            continue
        ratios += found.ratios
        for held, more in zip(readings, found.readings, strict=True):
            held += more
    report = ProfileReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        tools={name: version for name in TOOLS if (version := installed_version((name,)))},
        machine=this_machine(),
        target=request.target.name if request.target else "",
        subjects=_subjects(artefacts, readings, request.target),
        ratios=tuple(ratios),
        unavailable=tuple(unavailable),
    )
    return Profiled(report, tuple(failures))


def usual_places(artefacts: Sequence[Artefact], target: Target | None) -> tuple[Place, ...]:
    """This host; with a target also what can stand in for it: its core simulated for generated C,
    its NPU modelled for int8."""
    places = [HOST]
    if target is not None:
        core = simulated_core(target)
        if core in CORES and any(artefact.sidecar.memory for artefact in artefacts):
            places.append(Place("simulator", core))
        npu = any(part.vela for part in target.accelerators)
        if npu and any(artefact.sidecar.target == "tflite-int8" for artefact in artefacts):
            places.append(Place("vela"))  # the one of the target
    return tuple(places)


def _measure(place: Place, artefacts: Sequence[Artefact], request: Request) -> Findings:
    backend = load_backend(place.backend)
    return backend.measure(artefacts, replace(request, address=place.address))


def _subjects(
    artefacts: Sequence[Artefact], readings: Sequence[Sequence[Reading]], target: Target | None
) -> tuple[Subject, ...]:
    """What is known of each artefact; of several, each may be the remedy of another that does not
    fit the target."""
    known = [
        _Known(artefact.sidecar, exact_figures(artefact.sidecar), held)
        for artefact, held in zip(artefacts, readings, strict=True)
    ]
    needs = [needs_of(each.sidecar, each.figures(), target) for each in known] if target else []
    subjects = []
    for index, (artefact, each, name) in enumerate(
        zip(artefacts, known, labels(artefacts), strict=True)
    ):
        held, fit = list(each.readings), None
        if target is not None:
            held.append(modelled(each.sidecar, each.figures(), target))
            others = [*needs[:index], *needs[index + 1 :]]
            fit = judge(each.sidecar, [*each.figures(), *held[-1].figures], target, others)
        subjects.append(
            Subject(
                artefact=name,
                format=each.sidecar.target,
                sha256=each.sidecar.model.sha256,
                figures=tuple(each.exact),
                readings=with_operators(artefact, held),
                operators=dict(sorted(each.sidecar.operators.items())),
                fit=fit,
            )
        )
    return tuple(subjects)


@dataclass(frozen=True)
class _Known:
    sidecar: Sidecar
    exact: list[Figure]
    readings: Sequence[Reading]

    def figures(self) -> list[Figure]:
        return [*self.exact, *(figure for part in self.readings for figure in part.figures)]
