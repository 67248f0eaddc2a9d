"""The profile of an artefact: every figure with where it comes from, and the fit to a target."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from runtime.artefact import Artefact, Sidecar
from runtime.devices.host import measure
from runtime.engines import engine_name
from runtime.figures import ARENA_FIGURE, Figure
from runtime.profiling.backends import Request
from runtime.profiling.exact import exact_figures
from runtime.profiling.records import Unavailable
from targets.fit import FitReport, fit_verdict
from targets.needs import Needs
from targets.schema import Target


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Profile(_Record):
    """All that is known about one artefact on this machine."""

    artefact: str
    format: str
    sha256: str
    engines: tuple[str, ...]
    figures: tuple[Figure, ...]
    unavailable: tuple[Unavailable, ...]
    operators: dict[str, int]
    fit: FitReport | None = None

    def figure(self, name: str) -> Figure | None:
        """The figure called ``name``, None when it is not among them."""
        return next((figure for figure in self.figures if figure.name == name), None)


def profile_artefact(
    artefact: Artefact,
    *,
    engines: Sequence[str] = (),
    seconds: float = 10.0,
    target: Target | None = None,
) -> Profile:
    """Measure an artefact on this host, ``seconds`` of steps for each engine.

    Without ``engines`` the default engine of the format is measured. Raises InputError for an
    unknown or unsuitable engine, and for a model that is damaged or no engine may run, ToolMissing
    when no engine is installed; one of several that is not becomes ``unavailable``.
    """
    readings = measure([artefact], Request(seconds=seconds, engines=tuple(engines))).readings[0]
    measured = [figure for reading in readings for figure in reading.figures]
    arena = next((figure for figure in measured if figure.name == ARENA_FIGURE), None)
    return Profile(
        artefact=artefact.path.name,
        format=artefact.sidecar.target,
        sha256=artefact.sidecar.model.sha256,
        engines=tuple(engine_name(artefact, name) for name in engines or (None,)),
        figures=(*exact_figures(artefact.sidecar), *measured),
        unavailable=tuple(each for reading in readings for each in reading.unavailable),
        operators=dict(sorted(artefact.sidecar.operators.items())),
        fit=judge_fit(artefact.sidecar, target, arena) if target is not None else None,
    )


def judge_fit(sidecar: Sidecar, target: Target, arena: Figure | None) -> FitReport:
    """The fit verdict of an artefact; ``arena`` is its measured arena, None when unknown."""
    return fit_verdict(target, needs_of(sidecar, arena))


def needs_of(sidecar: Sidecar, arena: Figure | None = None) -> Needs:
    """What an artefact asks of a device, as far as its sidecar and its arena tell."""
    contract = sidecar.contract
    return Needs(
        format=sidecar.target,
        operators=tuple(sidecar.operators),
        parameters=sidecar.network.parameters,
        macs_per_step=sidecar.network.macs_per_step,
        hop_samples=contract.hop,
        sample_rate=contract.sample_rate,
        algorithmic_delay=contract.algorithmic_delay,
        constant_bytes=sidecar.memory.get("constants", sidecar.model.bytes),
        static_ram_bytes=sidecar.memory.get("ram"),
        arena_bytes=None if arena is None else int(arena.value),
    )
