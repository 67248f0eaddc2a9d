"""The embedded demo corpus: synthetic speech kept here, noises synthesised when first heard.

Voices never cross a split, and neither do the seeds of noises, so a test noise is a machine, a
wind or a crowd that training has not heard.
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from distill import noises
from distill.corpus import SAMPLE_RATE, SPLITS, Clip, FloatArray, Split, decode_block

HERE = Path(__file__).parent
NOISE_SECONDS = 10
NOISES_PER_TYPE: dict[Split, int] = {"train": 16, "valid": 4, "test": 6}
NOISE_VERSION = 1  # part of the name of a noise: raise it when a maker in noises.py changes


class DemoSpeech(BaseModel):
    """One voice: ``pitch`` and ``speed`` are what the synthesiser was told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    speaker: str
    seconds: float
    licence: str
    sentences: tuple[int, ...]
    split: Split
    engine: str
    name: str
    pitch: float
    speed: float


class DemoListing(BaseModel):
    """``manifest.json``, written by ``build.py``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["sordino-demo-corpus/1"] = Field(alias="schema")
    rate: Literal[16000]
    speech: tuple[DemoSpeech, ...]


def demo_clips() -> list[Clip]:
    """All speech and noise clips of the demo corpus; nothing is decoded or synthesised yet."""
    listing = DemoListing.model_validate_json((HERE / "manifest.json").read_bytes())
    speech = [
        Clip(
            name=entry.path,
            kind="speech",
            group=f"speech/{entry.speaker}",
            type=entry.engine,
            duration=entry.seconds,
            split=entry.split,
            path=HERE / entry.path,
            licence=entry.licence,
        )
        for entry in listing.speech
    ]
    sounds = [
        _noise_clip(type_, split, number, tuple(c for c in speech if c.split == split))
        for split in SPLITS
        for type_ in (*noises.MAKERS, "babble")
        for number in range(NOISES_PER_TYPE[split])
    ]
    return speech + sounds


def _noise_clip(type_: str, split: Split, number: int, voices: tuple[Clip, ...]) -> Clip:
    name = f"noise/{split}-{type_}-{number:02d}-v{NOISE_VERSION}"
    made = partial(_babble, name, voices) if type_ == "babble" else partial(_noise, name, type_)
    return Clip(
        name=name,
        kind="noise",
        group=name,
        type=type_,
        duration=float(NOISE_SECONDS),
        split=split,
        synthesis=made,
        licence="made by this program" if type_ != "babble" else "as the voices in it",
    )


def _generator(name: str) -> np.random.Generator:
    """Seeded by the name of the noise, which holds its split."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def _noise(name: str, type_: str) -> FloatArray:
    return noises.MAKERS[type_](_generator(name), NOISE_SECONDS * SAMPLE_RATE)


def _babble(name: str, voices: tuple[Clip, ...]) -> FloatArray:
    """A crowd of some voices of the same split."""
    rng = _generator(name)
    chosen = rng.permutation(len(voices))[: noises.BABBLE_VOICES]
    heard = [decode_block(voices[int(index)], 0) for index in chosen]
    return noises.babble(rng, NOISE_SECONDS * SAMPLE_RATE, heard)
