"""Every gate that artefacts allow without their training: one model, or the set of one network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from runtime.artefact import Artefact, GateResult, source_files
from runtime.modelfile.check import checked_bytes
from runtime.stft import FloatArray, StftContract
from runtime.verification.agreement import bit_exact, compared
from runtime.verification.behaviour import causality, liveness, loads, opened, reset
from runtime.verification.c_audio import c_audio, has_audio
from runtime.verification.c_source import c_compiles
from runtime.verification.drift import drift
from runtime.verification.file import file_gates
from runtime.verification.frames import frames_of, noise
from runtime.verification.onnx_file import onnx_gates
from runtime.verification.results import Section, judged
from runtime.verification.subjects import SOUND
from targets.errors import InputError

PROBE_FRAMES = 300
PROBE = "speech"  # of the sounds, what the gates on behaviour listen to
INTEGERS = ("tflite-int8", "tflite-int16x8")

Report = Callable[[str, float], None]
Sounds = Mapping[str, FloatArray]  # name → samples of a minute at the contract's rate


def verify_artefacts(
    artefacts: Sequence[Artefact], sounds: Sounds, minutes: int, progress: Report | None = None
) -> list[Section]:
    """The gates of every artefact, then those that compare artefacts of the same checkpoint.

    ``minutes`` of each of the ``sounds`` are run for the gate ``drift``; 0 leaves it out.
    """
    report = progress or _silent
    parts = len(artefacts) + (len(artefacts) > 1)
    sections = []
    for index, artefact in enumerate(artefacts):
        say = _part(report, artefact.sidecar.name, index, parts)
        gates = tuple(_gates(artefact, sounds, minutes, say))
        sections.append(Section(artefact.sidecar.name, gates))
    for network in _networks(artefacts):
        probe = probe_frames(network[0].sidecar.contract, sounds)
        say = _part(report, "agreement", parts - 1, parts)
        if gates := tuple(compared(network, probe, say)):
            sections.append(Section(f"{len(network)} models of one network", gates))
    return sections


def _gates(
    artefact: Artefact, sounds: Sounds, minutes: int, progress: Report
) -> Iterator[GateResult]:
    """Gates on one artefact; those on its behaviour only when its file is sound."""
    progress("file", 0.0)
    try:
        content = checked_bytes(artefact)
    except InputError as error:
        yield judged("sound", [error.message], "", SOUND, likely="it was altered or cut off")
        return
    yield judged("sound", [], f"{artefact.sidecar.model.bytes:,} bytes", SOUND)
    yield from _of_the_file(artefact, content)
    model = opened(artefact)
    if isinstance(model, GateResult):
        yield model
        return
    yield loads(model)
    progress("behaviour", 0.02)
    contract = artefact.sidecar.contract
    frames = probe_frames(contract, sounds)
    yield liveness(model, frames)
    yield reset(model, frames)
    yield causality(model, frames)
    if artefact.sidecar.target in INTEGERS:
        yield bit_exact(artefact, frames)
    if minutes:
        heard = {name: frames_of(contract, sound) for name, sound in sounds.items()}
        yield drift(model, heard, minutes, lambda stage, done: progress(stage, 0.05 + 0.95 * done))


def _of_the_file(artefact: Artefact, content: bytes) -> list[GateResult]:
    match artefact.path.suffix.lower():
        case ".tflite":
            return file_gates(artefact, content)
        case ".onnx":
            return onnx_gates(artefact, content)
        case _:
            sources = source_files(artefact)
            gates = [c_compiles(sources)]
            return [*gates, c_audio(sources, artefact.sidecar)] if has_audio(sources) else gates


def probe_frames(contract: StftContract, sounds: Sounds) -> FloatArray:
    """Features ``[PROBE_FRAMES, bins, 3]`` of the speech, or of noise where there is none."""
    seconds = (PROBE_FRAMES + 4) * contract.hop / contract.sample_rate
    sound = sounds[PROBE] if PROBE in sounds else noise(contract, seconds)
    return frames_of(contract, sound[: round(seconds * contract.sample_rate)])[:PROBE_FRAMES]


def _networks(artefacts: Sequence[Artefact]) -> list[list[Artefact]]:
    """Artefacts of the same checkpoint and contract, where there are several."""
    networks: dict[tuple[str, str], list[Artefact]] = {}
    for artefact in artefacts:
        origin = artefact.sidecar.provenance.get("checkpoint_sha256", "")
        key = (origin, artefact.sidecar.contract.model_dump_json())
        networks.setdefault(key, []).append(artefact)
    return [network for network in networks.values() if len(network) > 1]


def _part(report: Report, prefix: str, index: int, parts: int) -> Report:
    return lambda stage, done: report(f"{prefix}: {stage}", (index + done) / parts)


def _silent(stage: str, fraction: float) -> None:
    """The progress of a caller who does not want to know."""
