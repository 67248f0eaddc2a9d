"""Corpora: clips of speech and noise, their groups and splits, and their decoded samples.

A *group* is what must never cross a split: a speaker, or a noise recording. A corpus is opened
from the embedded demo speech, from a manifest written by ``sordino data scan``, or from a folder
that holds a ``manifest.csv`` of prepared recordings.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from targets.errors import InputError

FloatArray = npt.NDArray[np.float32]
Split = Literal["train", "valid", "test"]
Kind = Literal["speech", "noise"]

SAMPLE_RATE = 16_000
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
BLOCK_SECONDS = 30  # long files are decoded in blocks of whole seconds, exact at every rate
RESAMPLING_MARGIN_SECONDS = 1  # context on both sides of a block, so that blocks join unheard
DEFAULT_CACHE_BYTES = 1 << 30

Synthesis = Callable[[], FloatArray]  # makes the whole clip at SAMPLE_RATE


@dataclass(frozen=True)
class Clip:
    """One recording, or one synthesised sound. ``name`` is unique in its corpus."""

    name: str
    kind: Kind
    group: str
    type: str
    duration: float  # seconds
    split: Split
    path: Path | None = None
    synthesis: Synthesis | None = None
    licence: str = "unknown"

    @property
    def samples(self) -> int:
        """Length at ``SAMPLE_RATE``; whatever a file is short of it reads as silence."""
        return int(self.duration * SAMPLE_RATE)


@dataclass(frozen=True)
class _Block:
    """Decoded samples as int16 and the factor that gives them back: half the memory of floats."""

    values: npt.NDArray[np.int16]
    scale: np.float32


class BlockCache:
    """Least-recently-used blocks within ``limit`` bytes; safe to share between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._blocks: OrderedDict[tuple[str, int], _Block] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        return self._held

    def get(self, key: tuple[str, int]) -> _Block | None:
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
            return block

    def put(self, key: tuple[str, int], samples: FloatArray) -> _Block:
        """Keep ``samples`` (at a resolution of 1/32767 of their own peak) and return the block."""
        peak = float(np.max(np.abs(samples), initial=0.0))
        scale = np.float32(peak / 32767.0 if peak > 0.0 else 1.0)
        block = _Block(np.rint(samples / scale).astype(np.int16), scale)
        with self._lock:
            if key not in self._blocks:
                self._held += block.values.nbytes
                self._blocks[key] = block
            while self._held > self._limit and len(self._blocks) > 1:
                _, dropped = self._blocks.popitem(last=False)
                self._held -= dropped.values.nbytes
        return block


class Corpus:
    """Clips by kind and split, and their samples at 16 kHz mono through a bounded cache."""

    def __init__(
        self,
        name: str,
        clips: Sequence[Clip],
        *,
        synthetic: bool = False,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self.name = name
        self.clips = tuple(clips)
        self.synthetic = synthetic
        self.cache = BlockCache(cache_bytes)
        self._by_place: dict[tuple[Kind, Split], tuple[Clip, ...]] = {}
        for clip in self.clips:
            place = (clip.kind, clip.split)
            self._by_place[place] = (*self._by_place.get(place, ()), clip)

    def speech(self, split: Split) -> tuple[Clip, ...]:
        return self._by_place.get(("speech", split), ())

    def noise(self, split: Split) -> tuple[Clip, ...]:
        return self._by_place.get(("noise", split), ())

    @property
    def held_out(self) -> Split:
        """The split to report on: ``test`` where there is one, else ``valid``."""
        return "test" if self.speech("test") and self.noise("test") else "valid"

    @property
    def licences(self) -> dict[str, str]:
        """Licence → how many clips carry it."""
        counts: dict[str, int] = {}
        for clip in self.clips:
            counts[clip.licence] = counts.get(clip.licence, 0) + 1
        return {licence: f"{count} clips" for licence, count in sorted(counts.items())}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the listing: names, groups, types, durations and splits."""
        listing = [
            (c.kind, c.name, c.group, c.type, round(c.duration, 3), c.split)
            for c in sorted(self.clips, key=lambda c: (c.kind, c.name))
        ]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()

    def describe(self) -> str:
        """One line for people: what the corpus holds, and whether it is synthetic."""
        parts = []
        for kind in ("speech", "noise"):
            clips = [c for c in self.clips if c.kind == kind]
            minutes = sum(c.duration for c in clips) / 60.0
            groups = len({c.group for c in clips})
            noun = "speakers" if kind == "speech" else "recordings"
            parts.append(f"{minutes:.0f} min of {kind} ({groups} {noun})")
        made = " The data is synthetic." if self.synthetic else ""
        return f"{self.name}: {', '.join(parts)}.{made}"

    def load(self, clip: Clip, start: int, samples: int) -> FloatArray:
        """Samples ``[start, start + samples)`` of a clip at 16 kHz; zeros beyond its end.

        Raises InputError when the file cannot be read.
        """
        length = BLOCK_SECONDS * SAMPLE_RATE
        first, last = start // length, (start + max(samples, 1) - 1) // length
        if first == last:
            return self._cut(clip, first, start - first * length, samples)
        result = np.zeros(samples, dtype=np.float32)
        for index in range(first, last + 1):
            begin = max(start, index * length)
            end = min(start + samples, (index + 1) * length)
            piece = self._cut(clip, index, begin - index * length, end - begin)
            result[begin - start : end - start] = piece
        return result

    def _cut(self, clip: Clip, index: int, start: int, samples: int) -> FloatArray:
        key = (clip.name, index)
        block = self.cache.get(key) or self.cache.put(key, decode_block(clip, index))
        piece = block.values[start : start + samples]
        if len(piece) == samples:
            return np.multiply(piece, block.scale, dtype=np.float32)
        padded = np.zeros(samples, dtype=np.float32)
        padded[: len(piece)] = piece * block.scale
        return padded


def decode_block(clip: Clip, index: int) -> FloatArray:
    """Block ``index`` of a clip: mono, 16 kHz, at most ``BLOCK_SECONDS`` long."""
    length = BLOCK_SECONDS * SAMPLE_RATE
    if clip.synthesis is not None:
        return clip.synthesis()[index * length : (index + 1) * length]
    if clip.path is None:
        raise ValueError(f"clip {clip.name} has neither a file nor a synthesis")
    try:
        return _read_block(clip.path, index)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            f"Cannot read {clip.path}.", hint="Scan the folders again: `sordino data scan`."
        ) from error


def _read_block(path: Path, index: int) -> FloatArray:
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        first_second = index * BLOCK_SECONDS
        lead = min(first_second, RESAMPLING_MARGIN_SECONDS)
        wanted = lead + BLOCK_SECONDS + RESAMPLING_MARGIN_SECONDS
        begin = (first_second - lead) * rate
        if begin >= file.frames:
            return np.zeros(0, dtype=np.float32)
        file.seek(begin)
        frames = file.read(wanted * rate, dtype="float32", always_2d=True)
    mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise InputError(
            f"{path} contains samples that are not numbers.", hint="Remove or repair the file."
        )
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    start = lead * SAMPLE_RATE
    return np.ascontiguousarray(mono[start : start + BLOCK_SECONDS * SAMPLE_RATE])


def share(name: str) -> float:
    """A number in [0, 1) that depends on ``name`` alone: decides the split of a group."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def split_groups(
    groups: Sequence[str], valid: float, test: float, salt: str = ""
) -> Mapping[str, Split]:
    """A split for each distinct group, in proportion and deterministic.

    Groups are ranked by a hash of their name, so the outcome does not depend on the order in
    which they are listed. A wanted split gets at least one group where there are enough of them;
    ``train`` always keeps one.
    """
    ranked = sorted(set(groups), key=lambda name: (share(salt + name), name))
    spare = len(ranked) - 1
    tests = min(spare, max(1, round(test * len(ranked)))) if test > 0 else 0
    valids = min(spare - tests, max(1, round(valid * len(ranked)))) if valid > 0 else 0
    result: dict[str, Split] = {}
    for position, group in enumerate(ranked):
        if position < tests:
            result[group] = "test"
        elif position < tests + valids:
            result[group] = "valid"
        else:
            result[group] = "train"
    return result


def open_corpus(data: str | Path | None, *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> Corpus:
    """Open the demo corpus (``None`` or ``"demo"``), a scanned manifest, or prepared recordings.

    Opening again what was opened last gives the same object, with all that it has decoded, unless
    its listing has changed. Raises InputError when there is nothing at ``data`` or it is not a
    corpus.
    """
    if data is None or data == "demo":
        return _demo_corpus(cache_bytes)
    path = Path(data)
    listing = path
    if not path.is_file() or path.suffix == ".csv":
        from distill.prepared import find_listing

        listing = find_listing(path)
    status = listing.stat()
    identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return _listed_corpus(listing, identity, cache_bytes)


@lru_cache(maxsize=1)
def _demo_corpus(cache_bytes: int) -> Corpus:
    from distill.demo_corpus import demo_clips

    return Corpus("demo", demo_clips(), synthetic=True, cache_bytes=cache_bytes)


@lru_cache(maxsize=1)
def _listed_corpus(listing: Path, identity: tuple[int, ...], cache_bytes: int) -> Corpus:
    """``identity`` is that of the listing's file: another or a changed file is another corpus.

    The path stays as it was given, for messages.
    """
    if listing.suffix != ".csv":
        from distill.manifest import manifest_clips

        return Corpus(listing.stem, manifest_clips(listing), cache_bytes=cache_bytes)
    from distill.prepared import prepared_clips

    name = "/".join(listing.resolve().parts[-3:-1])
    return Corpus(name, prepared_clips(listing), cache_bytes=cache_bytes)
