"""The whole road once: distil → export → evaluate → profile → pack → denoise, in one folder.

    OUTPUT/teacher/ control/ student/ artefacts/ pack/ audio/ summary.json

Each part is what the command of its name does. Training resumes; the rest is made anew.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from distill.checkpoint import load_checkpoint
from distill.evaluation import (
    Row,
    artefact_candidate,
    checkpoint_candidate,
    evaluate,
    report,
)
from distill.mixing import Mixture
from distill.recipe import Recipe
from distill.road import evaluation_mixtures, networks
from export.pack import write_pack
from export.pipeline import export_checkpoint, unavailable_gates
from runtime.artefact import Artefact, GateResult, write_atomically
from runtime.denoiser import denoise_file
from runtime.pack import verify_pack
from runtime.profiling.backends import Request
from runtime.profiling.profile import profile as profile_artefacts
from runtime.profiling.records import ProfileReport
from runtime.stft import FloatArray
from targets.errors import GateFailed
from targets.fit import FitReport

TARGETS = ("tflite-int8", "tflite-fp32", "onnx-fp32")
LISTENING = 3  # noisy recordings kept beside their denoised versions
PROFILE_SECONDS = 10.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class Summary:
    """What the road led to; also written as ``summary.json``."""

    folder: Path
    rows: tuple[Row, ...]
    artefacts: tuple[Artefact, ...]
    profile: ProfileReport
    fits: tuple[FitReport, ...]
    pack: Path
    pack_gates: tuple[GateResult, ...]
    audio: tuple[tuple[Path, Path], ...]  # noisy, denoised
    seconds: dict[str, float] = field(default_factory=dict)  # wall time of each part

    @property
    def skipped(self) -> list[GateResult]:
        """The gates of artefacts and pack that could not run here: none of them is a pass."""
        of_pack = [gate for gate in self.pack_gates if gate.verdict == "unavailable"]
        return [*unavailable_gates(self.artefacts), *of_pack]


def finish_road(recipe: Recipe, folder: Path, trained_seconds: float, say: Report) -> Summary:
    """Everything after training, from the run in ``folder``.

    ``say`` hears the name of each part as it begins. Raises GateFailed where a gate fails.
    """
    seconds = {"distil": trained_seconds}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        say(name)
        start = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - start, 1)

    with part("export"):
        artefacts = export_checkpoint(load_checkpoint(folder), TARGETS, folder / "artefacts")
    int8 = artefacts[TARGETS.index("tflite-int8")]
    with part("evaluate"):
        mixtures = evaluation_mixtures(recipe)
        candidates = [checkpoint_candidate(path, name) for name, path in networks(recipe, folder)]
        shipped = artefact_candidate(int8.path, "Student distilled, int8")
        rows = evaluate([*candidates, shipped], mixtures, recipe.contract)
    with part("profile"):
        request = Request(seconds=PROFILE_SECONDS)
        profile = profile_artefacts([int8], request=request).report
    with part("pack"):
        # Golden vectors come from the embedded corpus: a pack goes to strangers, and nobody's
        # recordings should go with it unasked.
        packed = write_pack(int8, folder / "pack", figures=profile.subjects[0].all_figures())
        gates = verify_pack(folder / "pack")
        if failed := [gate.name for gate in gates if gate.verdict == "fail"]:
            raise GateFailed(f"The pack failed its own check: {', '.join(failed)}.")
    with part("denoise"):
        audio = _listen(mixtures[:LISTENING], int8, folder / "audio")
    summary = Summary(
        folder,
        tuple(rows),
        tuple(artefacts),
        profile,
        packed.fits,
        folder / "pack",
        tuple(gates),
        tuple(audio),
        seconds,
    )
    text = json.dumps(record(summary), indent=2) + "\n"
    write_atomically(folder / "summary.json", text.encode())
    return summary


def _listen(
    mixtures: Sequence[Mixture], artefact: Artefact, folder: Path
) -> list[tuple[Path, Path]]:
    """Write held-out noisy and clean recordings and denoise each with the shipped model."""
    folder.mkdir(parents=True, exist_ok=True)
    rate = artefact.sidecar.contract.sample_rate
    pairs = []
    for number, mixture in enumerate(mixtures, 1):
        noisy, denoised = folder / f"{number}-noisy.wav", folder / f"{number}-denoised.wav"
        _write_wav(noisy, mixture.noisy, rate)
        _write_wav(folder / f"{number}-clean.wav", mixture.clean, rate)
        denoise_file(artefact, noisy, denoised)
        pairs.append((noisy, denoised))
    return pairs


def _write_wav(path: Path, samples: FloatArray, rate: int) -> None:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, subtype="PCM_16", format="WAV")
    write_atomically(path, content.getvalue())


def record(summary: Summary) -> dict[str, object]:
    """The summary as JSON values."""
    return {
        "seconds": summary.seconds,
        "quality": report(summary.rows),
        "artefacts": [
            {
                "file": str(artefact.path.relative_to(summary.folder)),
                "bytes": artefact.sidecar.model.bytes,
                "gates": [gate.model_dump() for gate in artefact.sidecar.gates],
            }
            for artefact in summary.artefacts
        ],
        "profile": summary.profile.model_dump(mode="json"),
        "fit": [{**fit.model_dump(mode="json"), "verdict": fit.verdict} for fit in summary.fits],
        "pack": [gate.model_dump() for gate in summary.pack_gates],
        "audio": [
            [str(path.relative_to(summary.folder)) for path in pair] for pair in summary.audio
        ],
    }
