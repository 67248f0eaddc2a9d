"""Room responses given as files, and rooms as mixing uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from distill.corpus import SAMPLE_RATE, FloatArray
from targets.errors import InputError

Response = npt.NDArray[np.floating[Any]]

EARLY_SAMPLES = SAMPLE_RATE * 50 // 1000  # of a response: direct sound and early reflections
LEAD = 8  # samples kept before the direct sound
TAIL_DB = -60.0  # a response ends where less than this share of its energy is still to come


@dataclass(frozen=True)
class Room:
    """Responses from several places to one microphone, each as :func:`prepared` leaves it."""

    name: str
    responses: tuple[FloatArray, ...]

    @property
    def taps(self) -> int:
        return max(len(response) for response in self.responses)


def prepared(response: Response, direct: int, source: str) -> FloatArray:
    """A response that begins ``LEAD`` samples before its ``direct`` sound and ends with its tail.

    Scaled so that direct sound and early reflections have the energy 1: speech keeps its level.
    Raises InputError, naming ``source``, for silence and for what is not a number.
    """
    if not np.isfinite(response).all():
        raise InputError(
            f"{source} contains values that are not numbers.", hint="Remove or repair the file."
        )
    kept = np.asarray(response[max(direct - LEAD, 0) :], dtype=np.float64)
    early = float(np.sum(kept[:EARLY_SAMPLES] ** 2))
    if early <= 0.0:
        raise InputError(f"{source} holds a silent response.", hint="Remove the file.")
    remaining = np.cumsum(kept[::-1] ** 2)[::-1]
    end = int(np.count_nonzero(remaining > remaining[0] * 10.0 ** (TAIL_DB / 10.0)))
    return (kept[:end] / np.sqrt(early)).astype(np.float32)


def given_rooms(folder: Path, *, held_out: bool) -> list[Room]:
    """Rooms of a folder, with every tenth place for held-out mixtures and the others for training.

    An ``.npy`` file is a room: ``[taps]``, ``[places, taps]`` or ``[places, microphones, taps]``.
    An audio file (wav, flac) is a place, its channels are microphones; the files of one folder are
    one room. Subfolders are searched. Raises InputError for a folder without responses, files that
    cannot be read, another sample rate, silence, and values that are not numbers.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", hint="Check mixing.rir_folder.")
    rooms: list[Room] = []
    heard: dict[Path, list[Response]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix == ".npy":
            rooms += _rooms_of(str(path), _read_array(path), held_out)
        elif path.suffix in (".wav", ".flac"):
            heard.setdefault(path.parent, []).append(_read_audio(path))
    for parent, places in heard.items():
        microphones = min(len(place) for place in places)
        rooms += _rooms_of(str(parent), [place[:microphones] for place in places], held_out)
    if not rooms:
        raise InputError(
            f"No room responses in {folder}.", hint="Expected .npy, .wav or .flac at 16 kHz."
        )
    return rooms


def _rooms_of(name: str, places: Sequence[Response], held_out: bool) -> list[Room]:
    """A room for each microphone of ``places``, arrays ``[microphones, taps]``."""
    chosen = [p for number, p in enumerate(places) if (number % 10 == 9) == held_out]
    return [
        Room(
            f"{name}:{microphone}",
            tuple(
                prepared(place[microphone], int(np.argmax(np.abs(place[microphone]))), name)
                for place in chosen or places  # too few places to hold any out
            ),
        )
        for microphone in range(len(places[0]))
    ]


def _read_array(path: Path) -> list[Response]:
    try:
        taps = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path} is not a numpy array.", hint="Save it with numpy.save."
        ) from error
    if taps.dtype.kind != "f" or not 1 <= taps.ndim <= 3 or taps.size == 0:
        raise InputError(
            f"{path} is not a set of room responses.",
            hint="Expected floats of shape [places, microphones, taps] at 16 kHz.",
        )
    shaped = taps.reshape(1, 1, -1) if taps.ndim == 1 else taps
    shaped = shaped[:, None, :] if shaped.ndim == 2 else shaped
    return list(shaped)


def _read_audio(path: Path) -> Response:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path} is not audio.", hint="Use wav or flac.") from error
    if rate != SAMPLE_RATE or not len(samples):
        raise InputError(
            f"{path} has {rate} samples per second and {len(samples)} in all.",
            hint="Room responses are read at 16 kHz: resample them first.",
        )
    return np.ascontiguousarray(samples.T)
