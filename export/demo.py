"""The whole road once: distil → export → evaluate → profile → pack → denoise, in one folder.

    OUTPUT/teacher/ control/ student/ artefacts/ pack/ audio/ summary.json

Each part is what the command of its name does. Training resumes; the rest is made anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from distill.checkpoint import load_checkpoint
from distill.evaluation import (
    Candidate,
    Row,
    artefact_candidate,
    checkpoint_candidate,
    evaluate,
    report,
)
from distill.recipe import Recipe
from distill.road import evaluation_mixtures, networks
from export.pack import write_pack
from export.pipeline import export_checkpoint
from runtime.artefact import Artefact, GateResult, write_atomically
from runtime.denoiser import denoise_file
from runtime.pack import verify_pack
from runtime.profile import Profile, profile_artefact
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
    profile: Profile
    fits: tuple[FitReport, ...]
    pack: Path
    pack_gates: tuple[GateResult, ...]
    audio: tuple[tuple[Path, Path], ...]  # noisy, denoised
    seconds: dict[str, float] = field(default_factory=dict)  # wall time of each part


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
        candidates = [checkpoint_candidate(path, name) for name, path in networks(recipe, folder)]
        shipped = artefact_candidate(int8.path, "Student distilled, int8")
        rows = _evaluate(recipe, [*candidates, shipped])
    with part("profile"):
        profile = profile_artefact(int8, seconds=PROFILE_SECONDS)
    with part("pack"):
        packed = write_pack(int8, folder / "pack", figures=profile.figures, data=recipe.data)
        gates = verify_pack(folder / "pack")
        if failed := [gate.name for gate in gates if gate.verdict == "fail"]:
            raise GateFailed(f"The pack failed its own check: {', '.join(failed)}.")
    with part("denoise"):
        audio = _listen(recipe, int8, folder / "audio")
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


def _evaluate(recipe: Recipe, candidates: Sequence[Candidate]) -> list[Row]:
    return evaluate(candidates, evaluation_mixtures(recipe), recipe.contract)


def _listen(recipe: Recipe, artefact: Artefact, folder: Path) -> list[tuple[Path, Path]]:
    """Write held-out noisy recordings and denoise each with the shipped model."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, mixture in enumerate(evaluation_mixtures(recipe)[:LISTENING], 1):
        noisy, denoised = folder / f"{number}-noisy.wav", folder / f"{number}-denoised.wav"
        soundfile.write(noisy, mixture.noisy, recipe.contract.sample_rate, subtype="PCM_16")
        soundfile.write(
            folder / f"{number}-clean.wav",
            mixture.clean,
            recipe.contract.sample_rate,
            subtype="PCM_16",
        )
        denoise_file(artefact, noisy, denoised)
        pairs.append((noisy, denoised))
    return pairs


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
