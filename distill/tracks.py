"""Tracks that fill an item: speech of one speaker, and the sources of its noise."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from distill.corpus import SAMPLE_RATE, Clip, Corpus, FloatArray, Split
from distill.levels import SILENCE_POWER, active_power, mean_power
from targets.errors import InputError

FADE = 80  # samples of cross-fade where noise pieces meet: no click


@dataclass(frozen=True)
class Chances:
    """Probabilities of a pause before a piece of speech, a second noise, and babble."""

    pause: float
    second_noise: float
    babble: float


@dataclass(frozen=True)
class Speech:
    """A track ``[samples]``; the name of its first clip; the group that all its clips share."""

    samples: FloatArray
    name: str
    group: str


@dataclass(frozen=True)
class Noise:
    """Tracks ``[samples]`` that sound at once, at the levels they have to each other."""

    sources: tuple[FloatArray, ...]
    name: str


class Tracks:
    """Draws tracks of ``samples`` samples from one split of a corpus, and from no other.

    Raises InputError when the split has no speech or no noise.
    """

    def __init__(self, corpus: Corpus, split: Split, chances: Chances, samples: int) -> None:
        self._corpus = corpus
        self._chances = chances
        self._samples = samples
        self._speech = corpus.speech(split)
        noise = corpus.noise(split)
        if not self._speech or not noise:
            lacking = "noise" if self._speech else "speech"
            raise InputError(
                f"The {split} split of {corpus.name} has no {lacking}.",
                hint="Scan folders with more recordings, or use another split.",
            )
        self._speech_ends = np.cumsum([clip.duration for clip in self._speech]).tolist()
        self._by_speaker = _grouped(self._speech, [clip.group for clip in self._speech])
        by_type = _grouped(noise, [clip.type for clip in noise])
        self._types = tuple(by_type.values())
        # Between equal shares for types and for minutes: neither rare types nor long ones vanish.
        weights = [sum(clip.duration for clip in clips) ** 0.5 for clips in self._types]
        self._type_ends = np.cumsum(weights).tolist()

    def speech(self, rng: np.random.Generator) -> Speech:
        """Speech of one speaker filling an item: pieces in a row, sometimes with pauses.

        Every second of the split's speech is equally likely to be where it begins.
        """
        track = np.zeros(self._samples, dtype=np.float32)
        first = clip = self._speech[_place(self._speech_ends, rng)]
        siblings = self._by_speaker[first.group]
        position = 0
        while position < self._samples:
            if rng.random() < self._chances.pause:
                position += int(rng.uniform(0.05, 0.5) * SAMPLE_RATE)
            length = min(clip.samples, self._samples - position)
            if length <= 0:
                break
            start = int(rng.integers(clip.samples - length + 1))
            track[position : position + length] = self._corpus.load(clip, start, length)
            position += length
            clip = siblings[int(rng.integers(len(siblings)))]
        return Speech(track, first.name, first.group)

    def noise(self, rng: np.random.Generator, speaker: str) -> Noise:
        """One noise, sometimes two of different types or places; or babble without ``speaker``."""
        if rng.random() < self._chances.babble:
            voices = self._babble(rng, speaker)
            if voices:
                return Noise(voices, "babble")
        noise, name = self._one_noise(rng)
        if rng.random() < self._chances.second_noise:
            other, other_name = self._one_noise(rng)
            power, other_power = mean_power(noise), mean_power(other)
            if power > SILENCE_POWER and other_power > SILENCE_POWER:
                gain_db = rng.uniform(-10.0, 0.0)
                other *= np.float32(np.sqrt(power / other_power) * 10 ** (gain_db / 20))
                return Noise((noise, other), f"{name} + {other_name}")
        return Noise((noise,), name)

    def _one_noise(self, rng: np.random.Generator) -> tuple[FloatArray, str]:
        """Noise of one type filling an item: pieces with random offsets, joined by short fades."""
        clips = self._types[_place(self._type_ends, rng)]
        track = np.zeros(self._samples, dtype=np.float32)
        first = clip = clips[int(rng.integers(len(clips)))]
        position = 0
        while position < self._samples:
            length = min(clip.samples, self._samples - position)
            start = int(rng.integers(clip.samples - length + 1))
            piece = self._corpus.load(clip, start, length)
            if position and length > FADE:
                ramp = np.linspace(0.0, 1.0, FADE, dtype=np.float32)
                piece[:FADE] *= ramp
                track[position : position + FADE] *= 1.0 - ramp
            track[position : position + length] += piece
            done = position + length >= self._samples
            position += length if done or length <= 2 * FADE else length - FADE
            clip = clips[int(rng.integers(len(clips)))]
        return track, first.name

    def _babble(self, rng: np.random.Generator, speaker: str) -> tuple[FloatArray, ...]:
        """Three to six other speakers at similar levels; none where there are too few."""
        wanted = int(rng.integers(3, 7))
        voices: list[FloatArray] = []
        heard: set[str] = {speaker}
        for _ in range(4 * wanted):
            voice = self.speech(rng)
            power = active_power(voice.samples)
            if voice.group in heard or power <= SILENCE_POWER:
                continue
            heard.add(voice.group)
            gain_db = rng.uniform(-6.0, 0.0)
            voices.append(voice.samples * np.float32(10.0 ** (gain_db / 20.0) / np.sqrt(power)))
            if len(voices) == wanted:
                break
        return tuple(voices) if len(voices) >= 3 else ()


def _place(ends: list[float], rng: np.random.Generator) -> int:
    """Index of the interval in which a uniform draw from [0, last end) falls."""
    return min(bisect_right(ends, rng.random() * ends[-1]), len(ends) - 1)


def _grouped(clips: tuple[Clip, ...], keys: list[str]) -> dict[str, tuple[Clip, ...]]:
    lists: dict[str, list[Clip]] = {}
    for clip, key in zip(clips, keys, strict=True):
        lists.setdefault(key, []).append(clip)
    return {key: tuple(members) for key, members in lists.items()}
