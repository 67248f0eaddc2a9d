"""Small recordings and corpora for the tests of data and mixing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from distill.corpus import SAMPLE_RATE, SPLITS, Clip, Corpus, FloatArray, Kind, Split


def tone(seconds: float, rate: int = SAMPLE_RATE, frequency: float = 440.0) -> FloatArray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.25 * np.sin(2.0 * np.pi * frequency * time)).astype(np.float32)


def bursts(seed: int, seconds: float) -> FloatArray:
    """Noise in syllables of 0.2 s with true silence between them, in place of speech."""
    rng = np.random.default_rng(seed)
    sound = 0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE))
    syllable = np.arange(len(sound)) // (SAMPLE_RATE // 5)
    return np.where(syllable % 3 == 2, 0.0, sound).astype(np.float32)


def write(path: Path, samples: FloatArray, rate: int = SAMPLE_RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return path


def made_clip(kind: Kind, number: int, split: Split, seconds: float, type_: str) -> Clip:
    """A clip that is synthesised from its number: no file needed."""

    def synthesis() -> FloatArray:
        if kind == "speech":
            return bursts(number, seconds)
        rng = np.random.default_rng(1000 + number)
        return (0.03 * rng.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)

    name = f"{kind}/{split}/{number}"
    return Clip(name, kind, name, type_, seconds, split, synthesis=synthesis, licence="none")


def made_corpus(speakers: int = 6) -> Corpus:
    """Synthesised speech and noise in all three splits."""
    clips = []
    for at, split in enumerate(SPLITS):
        for number in range(speakers):
            clips.append(made_clip("speech", 100 * at + number, split, 3.0, "speech"))
            clips.append(made_clip("noise", 100 * at + number, split, 1.3, f"type{number % 2}"))
    return Corpus("made", clips)


def measured_snr(clean: FloatArray, noisy: FloatArray) -> float:
    """Active-speech SNR with plain loops: 20 ms frames within 40 dB of the loudest."""
    powers = [
        sum(float(x) ** 2 for x in clean[at : at + 320]) / 320
        for at in range(0, len(clean) - 319, 320)
    ]
    active = [power for power in powers if power >= max(powers) * 1e-4]
    noise = (noisy - clean).astype(np.float64)
    return 10.0 * float(np.log10(np.mean(active) / np.mean(noise**2)))
