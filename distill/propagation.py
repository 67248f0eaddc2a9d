"""From sources to the microphone: room responses and filters, applied as one multiplication.

Everything here is linear, so a source needs one transform there and one back however many filters
are in its way. Transforms are taken of several tracks at once, in groups of ``LANES``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from distill.biquads import FIR_TAPS
from distill.corpus import FloatArray
from distill.responses import EARLY_SAMPLES, Room

Spectrum = npt.NDArray[np.complex64]

LANES = 4  # 4 transforms of 40,000 samples take 0.30 ms and 3 take 0.65: they share SIMD lanes
KEPT_SPECTRA = 256  # of responses, some 0.3 MB each


@dataclass(frozen=True)
class Scene:
    """What the microphone hears ``[samples]``: of the speech, as the target, and of the noise.

    In a room the target is direct sound and the reflections of its first 50 ms, which help
    intelligibility; what comes later is to be removed with the noise.
    """

    heard: FloatArray
    target: FloatArray
    noise: FloatArray


@dataclass(frozen=True)
class Placement:
    """A room, the place of the speech in it, and the places of the noise's sources in turn."""

    room: Room
    speech: int
    noise: tuple[int, ...]


class Propagation:
    """Carries sources to the microphone; keeps the spectra of responses that it used last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], Spectrum] = OrderedDict()
        self._lock = threading.Lock()

    def scene(
        self,
        speech: FloatArray,
        sources: Sequence[FloatArray],
        placement: Placement | None,
        filters: tuple[FloatArray | None, FloatArray | None],
    ) -> Scene:
        """Speech and sources ``[samples]``, filtered by responses ``[FIR_TAPS]`` of their own."""
        samples = len(speech)
        places = _by_place(sources, placement)
        given = [taps for taps in filters if taps is not None]
        taps = placement.room.taps if placement else 1
        size = next_fast_len(samples + taps + FIR_TAPS - 2, real=True)
        spectra = _spectra([speech, *places.values(), *given], size)
        of_filters = iter(spectra[1 + len(places) :])
        of_speech, of_noise = (
            np.complex64(1.0) if taps is None else next(of_filters) for taps in filters
        )
        dry = spectra[0] * of_speech
        noises = spectra[1 : 1 + len(places)]
        if placement is None:
            heard, noise = _signals([dry, noises[0] * of_noise], size, samples)
            return Scene(heard, heard, noise)
        full, early = self._response(placement.room, placement.speech, size)
        wet = np.zeros_like(dry)
        for place, spectrum in zip(places, noises, strict=True):
            wet += spectrum * self._response(placement.room, place, size)[0]
        return Scene(*_signals([dry * full, dry * early, wet * of_noise], size, samples))

    def _response(self, room: Room, place: int, size: int) -> Spectrum:
        """Spectra ``[2, bins]`` of a response and of its early part."""
        key = (room.name, place, size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        response = room.responses[place]
        spectra = _spectra([response, response[:EARLY_SAMPLES]], size)
        with self._lock:
            self._kept[key] = spectra
            while len(self._kept) > KEPT_SPECTRA:
                self._kept.popitem(last=False)
        return spectra


def placed(room: Room, sources: int, rng: np.random.Generator) -> Placement:
    """Speech at one place, the sources at others; they share places where a room has few."""
    order = [int(place) for place in rng.permutation(len(room.responses))]
    others = order[1:] or order
    return Placement(room, order[0], tuple(others[i % len(others)] for i in range(sources)))


def _by_place(sources: Sequence[FloatArray], placement: Placement | None) -> dict[int, FloatArray]:
    """What sounds at each place of the noise; all of it at one where there is no room."""
    places = placement.noise if placement else (0,) * len(sources)
    sums: dict[int, FloatArray] = {}
    for place, source in zip(places, sources, strict=True):
        sums[place] = sums[place] + source if place in sums else source
    return sums


def _spectra(tracks: Sequence[FloatArray], size: int) -> Spectrum:
    """Spectra ``[tracks, bins]``, of ``LANES`` tracks at a time: eight at once leave the cache."""
    spectra = np.empty((len(tracks), size // 2 + 1), dtype=np.complex64)
    for first in range(0, len(tracks), LANES):
        group = tracks[first : first + LANES]
        rows = np.zeros((LANES, size), dtype=np.float32)
        for row, track in zip(rows, group, strict=False):
            row[: len(track)] = track
        spectra[first : first + LANES] = rfft(rows, axis=1)[: len(group)]
    return spectra


def _signals(spectra: Sequence[Spectrum], size: int, samples: int) -> list[FloatArray]:
    rows = np.zeros((LANES, size // 2 + 1), dtype=np.complex64)
    for row, spectrum in zip(rows, spectra, strict=False):
        row[:] = spectrum
    signals = irfft(rows, size, axis=1)
    return [np.ascontiguousarray(signals[number, :samples]) for number in range(len(spectra))]
