"""Backend `simulator`: generated C on bare cores in QEMU, bit by bit and to the instruction."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.artefact import Artefact
from runtime.devices.artefacts import has_audio, simulate_artefact, simulate_audio
from runtime.devices.children import ToolMissing
from runtime.devices.cores import ALIKE, CORES, Core, core_named
from runtime.devices.simulation import SimulationReport
from runtime.devices.toolchain import require
from runtime.engines.native import find_compiler
from runtime.figures import Provenance
from runtime.profiling.backends import Findings, Request
from runtime.profiling.records import OperatorRow, Reading, Unavailable
from targets.errors import GateFailed, GateUnavailable, InputError

NAME = "simulator"
FLOAT_TOLERANCE = 1e-4  # of a mask or a sample; compilers and libraries differ in the last bits
NO_AUDIO = "its C has no audio path: that is written where fft_size is a power of two"
NOT_C = "a bare core runs no interpreter here: export the model as c-int8"


def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
    """Run every C artefact on the cores that are asked for, ``request.frames`` golden frames each.

    The address names cores, separated by commas. Without one it is the core of the target, and
    without a target every core whose tools are installed. A mask that differs, counts that do not
    repeat and firmware that crashes are reported by the reading, not raised. Raises InputError for
    a core that cannot be simulated, and when no artefact is C; ToolMissing where compiler or
    simulator of a core that was asked for are missing, or those of every core, or a compiler for
    this machine; GateUnavailable when a core that was asked for does not finish in time.
    """
    if not any(_is_c(artefact) for artefact in artefacts):
        names = ", ".join(artefact.path.name for artefact in artefacts)
        raise InputError(
            f"Nothing here can be simulated: {names} is not C.",
            hint="Export the model as c-int8 as well; a bare core runs no interpreter here.",
        )
    asked = asked_for(request)
    missing: dict[str, ToolMissing] = {}
    for name in asked or CORES:
        try:
            require(core_named(name))
        except ToolMissing as error:
            if asked:
                raise
            missing[name] = error
    if len(missing) == len(CORES):
        raise next(iter(missing.values()))
    if find_compiler() is None:
        raise ToolMissing(
            "This machine has no C compiler of its own, which the golden masks come from.",
            hint="sudo apt install gcc",
        )
    return Findings(
        tuple(
            tuple(_reading(artefact, name, request, missing) for name in asked or CORES)
            if _is_c(artefact)
            else (_unavailable("", NOT_C),)
            for artefact in artefacts
        )
    )


def asked_for(request: Request) -> tuple[str, ...]:
    """Names of the cores that the address names, or the target has; empty for all there are.

    Raises InputError for a core that cannot be simulated.
    """
    named = [name.strip() for name in request.address.split(",") if name.strip()]
    target = request.target
    if not named and target is not None:
        if core_of(target.core) is None:
            what = target.core or "of which the profile does not tell the core"
            raise InputError(
                f"{target.name} ({what}) cannot be simulated.",
                hint=f"Cores that can: {', '.join(CORES)}; as --on simulator:cortex-m4.",
            )
        named = [target.core]
    for name in named:
        core_named(name)
    return tuple(dict.fromkeys(named))


def core_of(name: str) -> Core | None:
    """The simulated core that stands for core ``name``, None where there is none."""
    return CORES.get(ALIKE.get(name, name))


def _is_c(artefact: Artefact) -> bool:
    return artefact.path.suffix.lower() == ".c"


def _reading(
    artefact: Artefact, name: str, request: Request, missing: dict[str, ToolMissing]
) -> Reading:
    """What one artefact does on one core."""
    core = core_named(name)
    if name in missing:
        return _unavailable(name, f"{missing[name].message} {missing[name].hint}")
    asked = bool(request.address or request.target)
    if artefact.sidecar.inputs[0].dtype == "float32" and not core.floats and not asked:
        return _unavailable(name, f"{core.title} has no floating-point unit")
    try:
        report = simulate_artefact(artefact, core.name, frames=request.frames)
        hop = None
        if has_audio(artefact):
            hop = simulate_audio(artefact, core.name, frames=request.frames)
    except GateFailed as error:
        return Reading(backend=NAME, place=core.name, matches=False, difference=error.message)
    except GateUnavailable as error:
        if asked:
            raise
        return _unavailable(name, error.message)
    return reading_of(artefact, report, hop, name)


def reading_of(
    artefact: Artefact, step: SimulationReport, hop: SimulationReport | None, asked: str = ""
) -> Reading:
    """The reports of a step and of a hop of audio as one reading; ``asked`` is the core that the
    simulated one stands for."""
    floats = artefact.sidecar.outputs[0].dtype == "float32"
    matches, difference = _judged(step, floats)
    figures = step.figures(artefact.sidecar.network.macs_per_step)
    lacking: tuple[Unavailable, ...] = ()
    if hop is None:
        lacking = (Unavailable(name=f"hop of audio, median [{step.core}]", reason=NO_AUDIO),)
    else:
        sound, heard = _judged(hop, floats=True)
        matches = matches and sound
        difference = "; ".join(filter(None, (difference, heard and f"audio: {heard}")))
        figures += hop.audio_figures()
    if asked not in ("", step.core):
        note = f"{asked} executes the code of {step.core}"
        figures = tuple(
            figure.model_copy(update={"conditions": f"{note}; {figure.conditions}"})
            for figure in figures
        )
    return Reading(
        backend=NAME,
        place=step.core,
        figures=figures,
        operators=_rows(step),
        unavailable=lacking,
        matches=matches,
        difference=difference,
    )


def _rows(report: SimulationReport) -> tuple[OperatorRow, ...]:
    return tuple(
        OperatorRow(
            step=operator.step,
            kind=operator.kind,
            output=operator.output,
            macs=operator.macs,
            value=operator.instructions.median,
            low=operator.instructions.minimum,
            high=operator.instructions.maximum,
            unit="instructions",
            provenance=Provenance.SIMULATED,
        )
        for operator in report.operators
    )


def _judged(report: SimulationReport, floats: bool) -> tuple[bool, str]:
    """Whether all was as it has to be, and what was not.

    Integers are held to the bit, floats to FLOAT_TOLERANCE; counts repeat.
    """
    found, parts, matches = report.difference, [], report.repeatable
    if found is not None:
        close = floats and found.largest <= FLOAT_TOLERANCE
        parts.append(f"{found}{f', within {FLOAT_TOLERANCE:g}' if close else ''}")
        matches = matches and close
    if not report.repeatable:
        parts.append(f"counts or masks differ between {report.runs} runs")
    return matches, "; ".join(parts)


def _unavailable(core: str, reason: str) -> Reading:
    figure = f"step, median [{core}]" if core else "step, median"
    return Reading(
        backend=NAME,
        place=core or NAME,
        unavailable=(Unavailable(name=figure, reason=reason),),
    )
