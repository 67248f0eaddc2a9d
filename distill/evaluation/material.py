"""What candidates are scored on: pairs from a folder, or mixtures of a corpus's held-out split."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from distill.corpus import SAMPLE_RATE, Corpus, FloatArray, Split
from distill.leakage import Sound
from distill.mixing import (
    EVALUATION_LEVEL_DBFS,
    Mixer,
    MixSettings,
    Mixture,
)
from distill.pairs import paired_items
from distill.prepared import whole_recording
from targets.errors import InputError

SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0)
BUCKET_DB = 5.0
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Item:
    """One mixture with what is known of it. ``groups`` name its speaker and its noises as corpora
    name theirs, so that they can be compared."""

    name: str
    mixture: Mixture
    noise_type: str = UNKNOWN
    speaker: str | None = None
    noises: tuple[str, ...] = ()

    @property
    def snr_bucket(self) -> str:
        """The nearest multiple of 5 dB."""
        snr = self.mixture.snr_db
        if not np.isfinite(snr):
            return "no noise"
        return f"{BUCKET_DB * round(snr / BUCKET_DB):+.0f} dB".replace("+0 dB", "0 dB")


def paired_material(folder: Path) -> list[Item]:
    """Pairs of a folder, with what a ``manifest.csv`` beside them says of each.

    The columns used, where they exist: file, snr_db_active or snr_db, noise_type, speech_source
    and speaker, noise_ids. Without them the ratio is computed, and the type of noise unknown.
    Raises InputError for pairs that do not fit each other or hold no numbers.
    """
    listing = _read_listing(folder / "manifest.csv")
    return [_item(mixture, listing.get(mixture.speech, {})) for mixture in paired_items(folder)]


def corpus_material(
    corpus: Corpus, split: Split, count: int, seconds: float, seed: int
) -> list[Item]:
    """Mixtures of a split in equal numbers for each ratio (−5 … 15 dB) and each type of noise.

    One speaker and one type of noise in each, without rooms and at usual levels; the same for the
    same seed. Raises InputError when the split has no speech or no noise.
    """
    types = sorted({clip.type for clip in corpus.noise(split)})
    mixers: dict[tuple[float, str], Mixer] = {}
    items = []
    for index in range(count):
        snr, type_ = _cell(index, types)
        mixer = mixers.get((snr, type_))
        if mixer is None:
            mixer = _mixer(corpus, split, type_, snr, seconds, seed)
            mixers[snr, type_] = mixer
        mixture = mixer.item(index)
        items.append(Item(f"mixture {index}", mixture, type_ or UNKNOWN))
    return items


def _cell(index: int, types: Sequence[str]) -> tuple[float, str]:
    """Ratio and type of item ``index``: ratios and types take turns, and whenever they would meet
    again in the same pairs, ratios move on by one."""
    if not types:
        return SNRS_DB[index % len(SNRS_DB)], ""
    shift = index // math.lcm(len(SNRS_DB), len(types))
    return SNRS_DB[(index + shift) % len(SNRS_DB)], types[index % len(types)]


def _mixer(
    corpus: Corpus, split: Split, type_: str, snr: float, seconds: float, seed: int
) -> Mixer:
    """Draws mixtures of one type of noise at one ratio."""
    clips = (*corpus.speech(split), *(c for c in corpus.noise(split) if c.type == type_))
    settings = MixSettings(
        seconds=seconds,
        snr_db=(snr, snr),
        level_dbfs=EVALUATION_LEVEL_DBFS,
        second_noise_probability=0.0,
        babble_probability=0.0,
    )
    return Mixer(Corpus(corpus.name, clips, synthetic=corpus.synthetic), split, settings, seed)


def _item(mixture: Mixture, row: dict[str, str]) -> Item:
    for part in (mixture.noisy, mixture.clean):
        if not np.isfinite(part).all():
            raise InputError(
                f"The pair {mixture.speech} contains samples that are not numbers.",
                hint="Remove or repair the pair.",
            )
    snr = row.get("snr_db_active") or row.get("snr_db")
    try:
        known = replace(mixture, snr_db=float(snr)) if snr else mixture
    except ValueError as error:
        raise InputError(
            f"The manifest of the pairs gives {mixture.speech} a ratio of {snr!r}.",
            hint="Write a number of dB.",
        ) from error
    source, speaker = row.get("speech_source"), row.get("speaker")
    ids = [part.partition("@")[0] for part in (row.get("noise_ids") or "").split("|")]
    return Item(
        name=mixture.speech,
        mixture=known,
        noise_type=row.get("noise_type") or UNKNOWN,
        speaker=f"speech/{source}/{speaker}" if source and speaker else None,
        noises=tuple(f"noise/{whole_recording(one)}" for one in ids if one),
    )


def _read_listing(path: Path) -> dict[str, dict[str, str]]:
    """Stem of a pair's file → its row; empty where there is no listing."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV.", hint="Repair or remove it.") from error
    if rows and "file" not in rows[0]:
        raise InputError(
            f"{path} lacks the column file.", hint="It names the pairs, such as a.wav."
        )
    return {Path(row["file"]).stem: row for row in rows}


def paired_sounds(items: Sequence[Item]) -> list[Sound]:
    """Speech and noise (noisy − clean) of pairs, to look for in training data."""
    sounds = []
    for item in items:
        mixture, seconds = item.mixture, len(item.mixture.clean) / SAMPLE_RATE
        speakers = () if item.speaker is None else (item.speaker,)
        for part, identities, load in (
            ("speech", speakers, partial(_speech, mixture)),
            ("noise", item.noises, partial(_noise, mixture)),
        ):
            sounds.append(Sound(f"{item.name} ({part})", identities, item.name, seconds, load))
    return sounds


def _speech(mixture: Mixture) -> FloatArray:
    return mixture.clean


def _noise(mixture: Mixture) -> FloatArray:
    return mixture.noisy - mixture.clean
