"""Three small pairs, in memory and as a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from distill.mixing import Mixture
from tests.distill.recordings import bursts


def mixture(seed: int) -> Mixture:
    clean = bursts(seed, 1.0)
    noise = 0.05 * np.random.default_rng(seed).standard_normal(len(clean)).astype(np.float32)
    return Mixture(clean + noise, clean, 6.0, f"pair{seed}", "white")


MIXTURES = [mixture(1), mixture(2), mixture(3)]


def write_pairs(folder: Path) -> Path:
    """noisy/pairN.wav and clean/pairN.wav in ``folder``."""
    for mix in MIXTURES:
        for part, samples in (("noisy", mix.noisy), ("clean", mix.clean)):
            (folder / part).mkdir(exist_ok=True, parents=True)
            name = folder / part / f"{mix.speech}.wav"
            soundfile.write(name, samples, 16_000, subtype="FLOAT")
    return folder
