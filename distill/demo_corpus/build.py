"""Make the speech of the demo corpus: ``python distill/demo_corpus/build.py``.

Needs the Debian packages flite and espeak-ng. Each voice reads its own sentences of its split;
one Ogg Vorbis file is written for each voice, and ``manifest.json`` last. The result is kept in
the repository, so this runs only when voices or sentences change.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

HERE = Path(__file__).parent
SAMPLE_RATE = 16_000
LEVEL_DBFS = -26.0  # RMS over frames that are not silent
COMPRESSION = 0.75  # of libsndfile, 0 to 1: the quality at which all voices fit in 4 MB
SECONDS_PER_VOICE = 27.0
PAUSE_SECONDS = (0.15, 0.45)
FLITE_LICENCE = "LicenseRef-CMU-Flite"
ESPEAK_LICENCE = "Apache-2.0"  # a recording of sentences of this project; see NOTICE.md


@dataclass(frozen=True)
class Voice:
    """A speaking voice: ``pitch`` is Hz for flite, 0–99 for espeak-ng; ``speed`` is relative."""

    split: str
    engine: str
    name: str
    pitch: float
    speed: float

    @property
    def speaker(self) -> str:
        return f"{self.engine}-{self.name.replace('+', '-')}".lower()


VOICES = (
    Voice("train", "flite", "slt", 170, 1.0),
    Voice("train", "flite", "awb", 125, 1.0),
    Voice("train", "flite", "kal16", 105, 1.0),
    Voice("train", "espeak-ng", "en-us+m1", 40, 1.0),
    Voice("train", "espeak-ng", "en-gb+m3", 45, 0.9),
    Voice("train", "espeak-ng", "en-gb-scotland+m7", 55, 0.95),
    Voice("train", "espeak-ng", "en-us+f2", 50, 0.95),
    Voice("train", "espeak-ng", "en-gb-x-rp+f4", 45, 1.0),
    Voice("train", "espeak-ng", "en-us-nyc+f1", 60, 1.05),
    Voice("train", "espeak-ng", "en-029+aunty", 50, 0.9),
    Voice("train", "espeak-ng", "en-us+Andrea", 50, 1.0),
    Voice("train", "espeak-ng", "en-gb+belinda", 50, 0.95),
    Voice("train", "espeak-ng", "en-gb-x-gbclan+paul", 50, 0.9),
    Voice("train", "espeak-ng", "en-us+Gene", 50, 1.0),
    Voice("train", "espeak-ng", "en-gb+grandma", 50, 0.95),
    Voice("train", "espeak-ng", "en-us+Denis", 50, 0.9),
    Voice("train", "espeak-ng", "en-gb-scotland+anika", 55, 1.0),
    Voice("train", "espeak-ng", "en-us+norbert", 50, 1.0),
    Voice("train", "espeak-ng", "en-gb-x-gbcwmd+ed", 50, 0.95),
    Voice("train", "espeak-ng", "en-us+shelby", 50, 0.95),
    Voice("train", "espeak-ng", "en-029+Hugo", 50, 1.0),
    Voice("train", "espeak-ng", "en-us-nyc+klatt3", 45, 0.95),
    Voice("train", "espeak-ng", "en-gb+Michael", 50, 1.0),
    Voice("train", "espeak-ng", "en-us+linda", 55, 0.9),
    Voice("valid", "espeak-ng", "en-us+m2", 50, 1.0),
    Voice("valid", "espeak-ng", "en-gb+f3", 50, 0.95),
    Voice("valid", "espeak-ng", "en-gb-scotland+Diogo", 50, 0.95),
    Voice("test", "flite", "rms", 95, 1.0),
    Voice("test", "espeak-ng", "en-gb-x-rp+m4", 50, 1.0),
    Voice("test", "espeak-ng", "en-us+Annie", 50, 0.95),
    Voice("test", "espeak-ng", "en-029+steph", 50, 0.95),
)


def read_sentences() -> dict[str, list[str]]:
    """Sentences by split: lines before the first ``%name`` line are for training."""
    sentences: dict[str, list[str]] = {"train": []}
    split = "train"
    for line in (HERE / "sentences.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            split = line[1:]
            sentences[split] = []
        elif line:
            sentences[split].append(line)
    return sentences


def speak(voice: Voice, sentence: str) -> npt.NDArray[np.float64]:
    """One sentence at 16 kHz, without the silence around it, at ``LEVEL_DBFS``."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "spoken.wav"
        if voice.engine == "flite":
            settings = ["--setf", f"int_f0_target_mean={voice.pitch}"]
            settings += ["--setf", f"duration_stretch={1.0 / voice.speed:.3f}"]
            command = ["flite", "-voice", voice.name, *settings, "-t", sentence, "-o", str(wav)]
        else:
            settings = ["-p", f"{voice.pitch:.0f}", "-s", f"{165 * voice.speed:.0f}"]
            command = ["espeak-ng", "-v", voice.name, *settings, "-w", str(wav), sentence]
        subprocess.run(command, check=True, capture_output=True)
        samples, rate = soundfile.read(wav, dtype="float64")
    samples = soxr.resample(samples, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    samples = samples[max(loud[0] - 320, 0) : loud[-1] + 960]
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    powers = np.mean(frames**2, axis=1)
    active = powers[powers > 1e-4 * powers.max()].mean()
    samples *= 10.0 ** (LEVEL_DBFS / 20.0) / np.sqrt(active)
    return samples * min(1.0, 0.95 / np.abs(samples).max())


def read_aloud(voice: Voice, sentences: list[str]) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Sentences in a random order until ``SECONDS_PER_VOICE`` are full, and which they were."""
    chance = random.Random(voice.speaker)
    order = chance.sample(range(len(sentences)), len(sentences))
    parts: list[npt.NDArray[np.float64]] = []
    spoken: list[int] = []
    while sum(map(len, parts)) < SECONDS_PER_VOICE * SAMPLE_RATE:
        number = order[len(spoken)]
        parts.append(speak(voice, sentences[number]))
        parts.append(np.zeros(int(chance.uniform(*PAUSE_SECONDS) * SAMPLE_RATE)))
        spoken.append(number)
    return np.concatenate(parts), spoken


def encode(path: Path, samples: npt.NDArray[np.float64]) -> None:
    """Write Ogg Vorbis; a file that holds the same sound stays, as Ogg streams differ by a serial
    number drawn at random."""
    temporary = path.with_name(f".{path.name}.part")
    soundfile.write(
        temporary,
        samples.astype(np.float32),
        SAMPLE_RATE,
        format="OGG",
        subtype="VORBIS",
        compression_level=COMPRESSION,
    )
    if path.exists() and np.array_equal(soundfile.read(path)[0], soundfile.read(temporary)[0]):
        temporary.unlink()
    else:
        temporary.replace(path)


def check_variants() -> None:
    """espeak-ng speaks with its plain voice where a variant is missing, without a word: refuse."""
    command = ["espeak-ng", "--voices=variant"]
    known = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    for voice in VOICES:
        _, _, variant = voice.name.partition("+")
        if variant and f"!v/{variant}" not in known:
            raise SystemExit(f"espeak-ng has no voice variant {variant}")


def main() -> None:
    check_variants()
    sentences = read_sentences()
    speech = HERE / "speech"
    speech.mkdir(exist_ok=True)
    for path in speech.glob("*.ogg"):
        if path.stem not in {voice.speaker for voice in VOICES}:
            path.unlink()
    entries: list[dict[str, object]] = []
    for voice in VOICES:
        samples, spoken = read_aloud(voice, sentences[voice.split])
        path = speech / f"{voice.speaker}.ogg"
        encode(path, samples)
        licence = FLITE_LICENCE if voice.engine == "flite" else ESPEAK_LICENCE
        entries.append(
            {
                "path": f"speech/{path.name}",
                "speaker": voice.speaker,
                "seconds": round(len(samples) / SAMPLE_RATE, 3),
                "licence": licence,
                "sentences": spoken,
                **asdict(voice),
            }
        )
    listing = {"schema": "sordino-demo-corpus/1", "rate": SAMPLE_RATE, "speech": entries}
    temporary = HERE / ".manifest.json.part"
    temporary.write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
    temporary.replace(HERE / "manifest.json")


if __name__ == "__main__":
    main()
