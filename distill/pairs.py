"""Ready-made pairs of noisy and clean recordings, as mixtures to score on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from distill.corpus import SAMPLE_RATE, FloatArray
from distill.levels import active_power, mean_power
from distill.mixing import Mixture
from targets.errors import InputError


def paired_items(folder: Path) -> list[Mixture]:
    """Ready-made pairs: ``noisy/NAME`` and ``clean/NAME`` at 16 kHz mono, sorted by name.

    Raises InputError when a partner is missing, or when rates or lengths do not fit.
    """
    noisy_files = sorted(p for p in (folder / "noisy").glob("*") if p.is_file())
    if not noisy_files:
        raise InputError(f"No pairs in {folder}.", hint="Expected noisy/NAME and clean/NAME.")
    items: list[Mixture] = []
    for noisy_file in noisy_files:
        clean_file = folder / "clean" / noisy_file.name
        if not clean_file.is_file():
            raise InputError(f"{noisy_file} has no partner in clean/.", hint="Names must match.")
        noisy, clean = _read_pair_member(noisy_file), _read_pair_member(clean_file)
        if len(noisy) != len(clean):
            raise InputError(f"{noisy_file.name}: noisy and clean differ in length.", hint="")
        noise_power = mean_power(noisy - clean)
        ratio = active_power(clean) / noise_power if noise_power > 0.0 else np.inf
        name = noisy_file.stem
        items.append(Mixture(noisy, clean, float(10 * np.log10(max(ratio, 1e-12))), name, name))
    return items


def _read_pair_member(path: Path) -> FloatArray:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path} is not audio.", hint="Use wav or flac.") from error
    if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise InputError(f"{path} is not 16 kHz mono.", hint="Convert the pair first.")
    return np.ascontiguousarray(samples[:, 0])
