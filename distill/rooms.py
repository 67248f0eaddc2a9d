"""Simulated rooms: shoeboxes of random size and reverberation, kept on disk once simulated.

By pyroomacoustics (R. Scheibler, E. Bezzam, I. Dokmanić, ICASSP 2018): image sources for the
first reflections, ray tracing for the tail.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from distill.corpus import SAMPLE_RATE, FloatArray
from distill.responses import Room, prepared
from runtime.artefact import write_atomically
from targets.errors import InputError

Range = tuple[float, float]
Point = npt.NDArray[np.float64]  # [3], metres

SCHEME = 1  # raise it when the same settings are simulated differently
MARGIN_M = 0.4  # of sources and microphone from the walls
SCATTERING = 0.1
IMAGE_ORDER = 6
RAYS = 2000  # four sources take some 0.3 to 1 s, at twice as many the T60 is no nearer to target
TRIES = 1000


class Rooms(BaseModel):
    """How rooms are simulated. Ranges are uniform; the same settings give the same rooms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: PositiveInt = 64
    places: int = Field(4, ge=2, le=32)  # from which something is heard, in each room
    t60_s: Range = (0.15, 0.7)
    length_m: Range = (3.0, 10.0)
    width_m: Range = (2.5, 8.0)
    height_m: Range = (2.4, 4.0)
    distance_m: Range = (0.5, 3.0)  # of a place from the microphone
    seed: NonNegativeInt = 0
    cache: Path | None = None  # default: sordino/rooms in the user's cache folder

    @model_validator(mode="after")
    def _consistent(self) -> Rooms:
        for name in ("t60_s", "length_m", "width_m", "height_m", "distance_m"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ValueError(f"{name} must be positive and rise: [{low}, {high}]")
        if min(self.length_m[0], self.width_m[0], self.height_m[0]) < 3.0 * MARGIN_M:
            raise ValueError(f"rooms must measure at least {3.0 * MARGIN_M:.1f} m each way")
        return self


def simulated_rooms(settings: Rooms, *, held_out: bool) -> list[Room]:
    """Every tenth room for held-out mixtures, the others for training.

    Rooms are read from the cache, or simulated and kept there. Raises InputError where
    pyroomacoustics is missing, the cache cannot be written or places do not fit into a room.
    """
    folder = _cache_folder(settings)
    chosen = [n for n in range(settings.count) if (n % 10 == 9) == held_out]
    return [
        Room(f"simulated {number}", _responses(settings, folder, number))
        for number in chosen or range(settings.count)  # too few rooms to hold any out
    ]


def _responses(settings: Rooms, folder: Path, number: int) -> tuple[FloatArray, ...]:
    path = folder / f"{number:05}.npy"
    try:
        kept = np.load(path, allow_pickle=False)
        lengths, taps = kept[:, 0].astype(int), kept[:, 1:]
    except (OSError, ValueError, EOFError, IndexError):  # absent, or damaged: made again
        responses = simulate(settings, number)
        _keep(path, responses)
        return responses
    return tuple(row[:length].copy() for row, length in zip(taps, lengths, strict=True))


def _keep(path: Path, responses: tuple[FloatArray, ...]) -> None:
    """One row for each response: its length, then its taps."""
    rows = np.zeros((len(responses), 1 + max(map(len, responses))), dtype=np.float32)
    for row, response in zip(rows, responses, strict=True):
        row[0] = len(response)
        row[1 : 1 + len(response)] = response
    content = io.BytesIO()
    np.save(content, rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise InputError(
            f"Cannot keep simulated rooms in {path.parent}: {error.strerror}.",
            hint="Name another folder with mixing.rooms.cache.",
        ) from error


def _cache_folder(settings: Rooms) -> Path:
    try:
        version = importlib.metadata.version("pyroomacoustics")
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            "Simulating rooms needs the package pyroomacoustics.",
            hint="pip install 'sordino[rooms]', or give measured responses by mixing.rir_folder.",
        ) from error
    decides = settings.model_dump(mode="json", exclude={"count", "cache"})
    record = json.dumps([SCHEME, SAMPLE_RATE, version, decides], sort_keys=True)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parent = settings.cache or caches / "sordino" / "rooms"
    return parent / hashlib.sha256(record.encode()).hexdigest()[:16]


def simulate(settings: Rooms, number: int) -> tuple[FloatArray, ...]:
    """Room ``number``: a response for each place, by its own random numbers."""
    import pyroomacoustics

    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(number,)))
    bounds = (settings.length_m, settings.width_m, settings.height_m)
    size = np.array([rng.uniform(*sides) for sides in bounds])
    absorption = eyring_absorption(size, rng.uniform(*settings.t60_s))
    microphone = rng.uniform(MARGIN_M, size - MARGIN_M)
    places = [_place(settings, rng, size, microphone) for _ in range(settings.places)]
    pyroomacoustics.random.seed(int(rng.integers(2**31)))
    pyroomacoustics.constants.set("num_threads", 1)  # several add up in another order each time
    room = pyroomacoustics.ShoeBox(
        size,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption, SCATTERING),
        max_order=IMAGE_ORDER,
        ray_tracing=True,
        air_absorption=True,
    )
    room.set_ray_tracing(n_rays=RAYS)
    for place in places:
        room.add_source(place)
    room.add_microphone(microphone)
    room.compute_rir()
    # Band-limited impulses are centred, so all comes half their length later.
    delay = pyroomacoustics.constants.get("frac_delay_length") // 2
    speed = pyroomacoustics.constants.get("c")
    return tuple(
        prepared(
            np.asarray(response),
            round(float(np.linalg.norm(place - microphone)) / speed * SAMPLE_RATE) + delay,
            f"simulated room {number}",
        )
        for place, response in zip(places, room.rir[0], strict=True)
    )


def eyring_absorption(size: Point, t60: float) -> float:
    """Energy that walls absorb for a reverberation time (C. F. Eyring, JASA 1, 1930).

    T60 = 24 ln 10 / c · V / (−S ln(1 − absorption)), with c = 343 m/s; ``size`` in metres.
    """
    volume = float(np.prod(size))
    surface = 2.0 * float(size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    return float(1.0 - np.exp(-24.0 * np.log(10.0) / 343.0 * volume / (surface * t60)))


def _place(settings: Rooms, rng: np.random.Generator, size: Point, microphone: Point) -> Point:
    low, high = settings.distance_m
    for _ in range(TRIES):
        place = rng.uniform(MARGIN_M, size - MARGIN_M)
        if low <= np.linalg.norm(place - microphone) <= high:
            return place
    raise InputError(
        f"No place {low} to {high} m from the microphone in a room of "
        f"{' × '.join(f'{side:.1f}' for side in size)} m.",
        hint="Widen mixing.rooms.distance_m, or make the rooms larger.",
    )
