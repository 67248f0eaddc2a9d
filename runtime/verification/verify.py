"""Every gate that artefacts allow without their training: one model, or the set of one network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from runtime.artefact import C_MODEL, Artefact, GateResult, load_artefact
from runtime.modelfile.check import checked_bytes
from runtime.stft import FloatArray, StftContract
from runtime.verification.agreement import FLOATS, INTEGERS, TWINS, bit_exact, parity, twins
from runtime.verification.behaviour import causality, liveness, loads, opened, reset
from runtime.verification.drift import drift
from runtime.verification.file import file_gates
from runtime.verification.frames import frames_of, noise
from runtime.verification.results import judged
from targets.errors import InputError

MODELS = (".tflite", ".onnx")
PROBE_FRAMES = 300

Report = Callable[[str, float], None]
Sounds = Mapping[str, FloatArray]  # name → samples of a minute at the contract's rate


def artefacts_at(path: Path) -> list[Artefact]:
    """The artefact at ``path``, or all those in a folder, sorted by name.

    Raises InputError when there is none, or one is damaged.
    """
    if path.is_file() or (path / C_MODEL).is_file():
        return [load_artefact(path)]
    if not path.is_dir():
        raise InputError(f"No model at {path}.", hint="`sordino export` writes artefacts.")
    found = [one for one in sorted(path.iterdir()) if _is_model(one)]
    if not found:
        raise InputError(
            f"There is no artefact in {path}.",
            hint="Name a model, the folder that `sordino export` wrote, or a pack.",
        )
    return [load_artefact(one) for one in found]


def _is_model(path: Path) -> bool:
    return path.suffix.lower() in MODELS or (path / C_MODEL).is_file()


def verify_artefacts(
    artefacts: Sequence[Artefact], sounds: Sounds, minutes: int, progress: Report | None = None
) -> list[GateResult]:
    """The gates of every artefact, then those that compare artefacts of the same checkpoint.

    ``minutes`` of each of the ``sounds`` are run for the gate ``drift``; 0 leaves it out. With
    several artefacts a gate's name ends in the format.
    """
    report = progress or _silent
    several = len(artefacts) > 1
    gates: list[GateResult] = []
    for index, artefact in enumerate(artefacts):
        say = _part(report, artefact.sidecar.target, index, len(artefacts))
        for gate in _gates(artefact, sounds, minutes, say):
            name = f"{gate.name} ({artefact.sidecar.target})" if several else gate.name
            gates.append(gate.model_copy(update={"name": name}))
    return [*gates, *_compared(artefacts)]


def _gates(
    artefact: Artefact, sounds: Sounds, minutes: int, progress: Report
) -> Iterable[GateResult]:
    """Gates on one artefact; those on its behaviour only when its file is sound."""
    try:
        content = checked_bytes(artefact)
    except InputError as error:
        yield judged("sound", [error.message], "", "a file that can be read without harm")
        return
    sizes = f"{artefact.sidecar.model.bytes:,} bytes"
    yield judged("sound", [], sizes, "a file that can be read without harm")
    if artefact.path.suffix == ".tflite":
        yield from file_gates(artefact, content)
    progress("loading", 0.0)
    model = opened(artefact)
    if isinstance(model, GateResult):
        yield model
        return
    yield loads(model)
    contract = artefact.sidecar.contract
    frames = _probe(contract, sounds)
    yield liveness(model, frames)
    yield reset(model, frames)
    yield causality(model, frames)
    if artefact.sidecar.target in INTEGERS:
        yield bit_exact(artefact, frames)
    if minutes:
        heard = {name: frames_of(contract, sound) for name, sound in sounds.items()}
        yield drift(model, heard, minutes, progress)


def _probe(contract: StftContract, sounds: Sounds) -> FloatArray:
    """Frames of the last of the sounds, or of noise where there is none."""
    seconds = (PROBE_FRAMES + 4) * contract.hop / contract.sample_rate
    sound = list(sounds.values())[-1] if sounds else noise(contract, seconds)
    return frames_of(contract, sound[: round(seconds * contract.sample_rate)])[:PROBE_FRAMES]


def _compared(artefacts: Sequence[Artefact]) -> Iterable[GateResult]:
    """Gates between artefacts of one checkpoint and contract."""
    networks: dict[tuple[str, str], dict[str, Artefact]] = {}
    for artefact in artefacts:
        origin = artefact.sidecar.provenance.get("checkpoint_sha256", "")
        key = (origin, artefact.sidecar.contract.model_dump_json())
        networks.setdefault(key, {})[artefact.sidecar.target] = artefact
    for (_, _), formats in networks.items():
        frames = _probe(next(iter(formats.values())).sidecar.contract, {})
        floats = [formats[name] for name in FLOATS if name in formats]
        if len(floats) > 1:
            yield parity(floats, frames)
        for generated, origin in TWINS.items():
            if generated in formats and origin in formats:
                yield twins(formats[generated], formats[origin], frames)


def _part(report: Report, prefix: str, index: int, parts: int) -> Report:
    return lambda stage, done: report(f"{prefix}: {stage}", (index + done) / parts)


def _silent(stage: str, fraction: float) -> None:
    """The progress of a caller who does not want to know."""
