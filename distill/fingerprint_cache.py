"""Fingerprints of a corpus, computed once by several processes and kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from distill.corpus import BLOCK_SECONDS, SAMPLE_RATE, Clip, FloatArray, decode_block
from distill.fingerprint import VERSION, Fingerprint, fingerprint
from runtime.artefact import sha256_of, write_atomically
from runtime.metrics import scoring_processes

Progress = Callable[[int, int], None]  # recordings done, recordings in all

FEW_SECONDS = 300.0  # of sound: less than this is not worth starting processes for


def clip_fingerprints(
    clips: Sequence[Clip], workers: int = 1, progress: Progress | None = None
) -> list[Fingerprint]:
    """A fingerprint for each clip. What was computed before for the same files is read back."""
    place = cache_folder() / f"{_key(clips)}.npz"
    kept = _read(place, len(clips))
    if kept is not None:
        return kept
    made = _compute(clips, workers, progress)
    with suppress(OSError):  # without a cache it works as well, only slower the next time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, _packed(made))
    return made


def cache_folder() -> Path:
    """``sordino/fingerprints`` in XDG_CACHE_HOME, which is ``~/.cache`` where it is not set."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path.home() / ".cache") / "sordino" / "fingerprints"


def decode_clip(clip: Clip) -> FloatArray:
    """All samples of a clip at 16 kHz. Raises InputError when the file cannot be read."""
    length = BLOCK_SECONDS * SAMPLE_RATE
    blocks = range(max(1, -(-clip.samples // length)))
    return np.concatenate([decode_block(clip, index) for index in blocks])


def _compute(clips: Sequence[Clip], workers: int, progress: Progress | None) -> list[Fingerprint]:
    made = []
    if workers <= 1 or sum(clip.duration for clip in clips) < FEW_SECONDS:
        for clip in clips:
            made.append(_of_clip(clip))
            if progress is not None:
                progress(len(made), len(clips))
        return made
    with scoring_processes(workers) as pool:
        for one in pool.map(_of_clip, clips, chunksize=8):
            made.append(one)
            if progress is not None:
                progress(len(made), len(clips))
    return made


def _of_clip(clip: Clip) -> Fingerprint:
    return fingerprint(decode_clip(clip))


def _key(clips: Sequence[Clip]) -> str:
    """Hash of the files' contents in order; made sounds are what their names say."""
    digest = hashlib.sha256(f"fingerprints {VERSION}".encode())
    for clip in clips:
        content = clip.name if clip.path is None else sha256_of(clip.path)
        digest.update(f"\n{content}".encode())
    return digest.hexdigest()


def _packed(fingerprints: Sequence[Fingerprint]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        sizes=np.array([len(one.hashes) for one in fingerprints], dtype=np.int64),
        hashes=np.concatenate([np.zeros(0, np.uint32), *(one.hashes for one in fingerprints)]),
        frames=np.concatenate([np.zeros(0, np.uint32), *(one.frames for one in fingerprints)]),
    )
    return buffer.getvalue()


def _read(place: Path, number: int) -> list[Fingerprint] | None:
    """What ``_packed`` wrote; None where there is nothing, or something else."""
    try:
        with np.load(place, allow_pickle=False) as content:
            sizes, hashes, frames = content["sizes"], content["hashes"], content["frames"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    if len(sizes) != number or int(sizes.sum()) != len(hashes) or len(hashes) != len(frames):
        return None
    ends = [0, *np.cumsum(sizes).tolist()]
    return [Fingerprint(hashes[a:b], frames[a:b]) for a, b in pairwise(ends)]
