"""Acoustic fingerprints: does a recording, or an excerpt of it, occur in a collection?

Constellations of spectral peaks, hashed in pairs (Wang, "An industrial-strength audio search
algorithm", ISMIR 2003). What counts is where the peaks lie to each other, so neither level nor
encoding nor a cut matters; two recordings are the same where many pairs agree on one offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

FloatArray = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint32]

VERSION = 1  # of what follows: fingerprints of another version are not comparable
RATE = 16_000
WINDOW, HOP = 1024, 256  # 64 ms, 16 ms: fine enough for excerpts cut anywhere
LOWEST_BIN, HIGHEST_BIN = 6, 416  # 94 Hz to 6.5 kHz: what lossy codecs keep
NEIGHBOURHOOD = (13, 21)  # frames, bins: a peak is the largest value in it
RANGE_DB = 60.0  # peaks further below the loudest one are the noise floor
FAN_OUT = 6  # pairs per peak
REACH = 63  # frames to the second peak, at most
SPREAD = 127  # bins to the second peak, at most

LEAST_AGREEING = 14  # pairs; the margin is told in docs/evaluate.md
LEAST_SHARE = 0.04  # of the pairs of the shorter recording
OUTSTANDING = 5.0  # times what other offsets of the same two recordings reach: steady tones


@dataclass(frozen=True)
class Fingerprint:
    """Hashes ``[n]`` of pairs of peaks, and the frame ``[n]`` where each begins."""

    hashes: Hashes
    frames: Hashes


@dataclass(frozen=True)
class Match:
    """Recording number ``query`` is, or is part of, recording number ``known``."""

    query: int
    known: int
    agreeing: int  # pairs that agree on the offset
    offset: float  # seconds: where in ``known`` the query begins


def fingerprint(signal: FloatArray) -> Fingerprint:
    """Fingerprint of a signal ``[samples]`` at 16 kHz; empty for silence or a few frames."""
    frames, bins = _peaks(signal)
    return _pairs(frames, bins)


def _peaks(signal: FloatArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Frames and bins of the local maxima of the spectrogram, in the order of time."""
    nothing = np.zeros(0, dtype=np.int64)
    if len(signal) < WINDOW:
        return nothing, nothing
    windows = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::HOP]
    taper = np.hanning(WINDOW).astype(np.float32)
    spectra = np.abs(np.fft.rfft(windows * taper, axis=1)[:, LOWEST_BIN:HIGHEST_BIN])
    loudest = float(spectra.max())
    if not loudest > 0.0:
        return nothing, nothing
    largest = maximum_filter(spectra, size=NEIGHBOURHOOD, mode="constant")
    found = (spectra == largest) & (spectra > loudest * 10.0 ** (-RANGE_DB / 20.0))
    frames, bins = np.nonzero(found)
    return frames, bins


def _pairs(frames: npt.NDArray[np.int64], bins: npt.NDArray[np.int64]) -> Fingerprint:
    """Hashes of each peak with the next ``FAN_OUT`` peaks within reach."""
    hashes: list[npt.NDArray[np.int64]] = []
    starts: list[npt.NDArray[np.int64]] = []
    taken = np.zeros(len(frames), dtype=np.int64)
    for step in range(1, 6 * FAN_OUT):
        first, second = slice(0, len(frames) - step), slice(step, len(frames))
        if step >= len(frames):
            break
        gap, rise = frames[second] - frames[first], bins[second] - bins[first]
        good = (gap > 0) & (gap <= REACH) & (np.abs(rise) <= SPREAD) & (taken[first] < FAN_OUT)
        taken[first] += good
        value = (bins[first] << 14) | ((rise + SPREAD) << 6) | gap
        hashes.append(value[good])
        starts.append(frames[first][good])
    if not hashes:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(0, np.uint32))
    return Fingerprint(
        np.concatenate(hashes).astype(np.uint32), np.concatenate(starts).astype(np.uint32)
    )


class Index:
    """Fingerprints of a collection, to be searched for excerpts."""

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        sizes = [len(one.hashes) for one in fingerprints]
        owners = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
        hashes = np.concatenate([np.zeros(0, np.uint32), *(f.hashes for f in fingerprints)])
        frames = np.concatenate([np.zeros(0, np.uint32), *(f.frames for f in fingerprints)])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._owners = owners[order]
        self._frames = frames[order].astype(np.int64)
        self._sizes = np.array(sizes, dtype=np.int64)

    def best(self, query: Fingerprint) -> tuple[int, int, int, float]:
        """(recording, agreeing pairs, offset in frames, mean of other offsets)."""
        low = np.searchsorted(self._hashes, query.hashes, side="left")
        high = np.searchsorted(self._hashes, query.hashes, side="right")
        counts = high - low
        total = int(counts.sum())
        if not total:
            return -1, 0, 0, 0.0
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        at = np.repeat(low, counts) + within
        offsets = self._frames[at] - np.repeat(query.frames.astype(np.int64), counts)
        keys = (self._owners[at] << 32) + (offsets + (1 << 31))
        places, votes = np.unique(keys, return_counts=True)
        # a cut between two frames spreads the votes over two neighbouring offsets
        following = np.searchsorted(places, places + 1)
        following = np.minimum(following, len(places) - 1)
        near = np.where(places[following] == places + 1, votes[following], 0)
        joined = votes + near
        top = int(np.argmax(joined))
        owner = int(places[top] >> 32)
        offset = int(places[top] & 0xFFFFFFFF) - (1 << 31)
        same = (places >> 32) == owner
        others = np.abs((places[same] & 0xFFFFFFFF) - (1 << 31) - offset) > 2
        rest = joined[same][others]
        return owner, int(joined[top]), offset, float(rest.mean()) if len(rest) else 0.0
