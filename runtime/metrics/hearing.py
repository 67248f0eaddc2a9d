"""HASPI and HASQI: intelligibility and quality for a listener with a given audiogram.

Kates and Arehart, "The hearing-aid speech perception index, version 2" (2021) and "… quality
index, version 2" (2014), as published in the package ``pyclarity``. The clean reference is
presented at 65 dB SPL and the estimate with the same gain; the estimate is then amplified by the
NAL-R prescription for the audiogram, as the hearing aid behind the denoiser would. Both indices
add noise of their own, drawn here from a fixed seed.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from runtime.metrics.intrusive import AudioArray
from targets.errors import InputError

LEVEL_DB_SPL = 65.0  # of the clean speech
NALR_TAPS = 220
SHORTEST_SECONDS = 0.5  # below this the modulation filters have nothing to judge


class Audiogram(BaseModel):
    """Hearing thresholds ``levels`` in dB HL at ``frequencies`` in Hz, which rise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "audiogram"
    frequencies: tuple[float, ...] = Field(min_length=2)
    levels: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Audiogram:
        if len(self.levels) != len(self.frequencies):
            raise ValueError("there must be as many levels as frequencies")
        if list(self.frequencies) != sorted(set(self.frequencies)) or self.frequencies[0] <= 0:
            raise ValueError("frequencies must be positive and rise")
        if not all(-20.0 <= level <= 130.0 for level in self.levels):
            raise ValueError("levels must lie between -20 and 130 dB HL")
        return self


_FREQUENCIES = (250, 375, 500, 750, 1000, 1500, 2000, 3000, 4000, 6000)
# Bisgaard, Vlaming and Dahlquist, "Standard audiograms for the IEC 60118-15 measurement
# procedure", Trends in Amplification 14 (2010): N flat and moderately sloping, S steep.
STANDARD: dict[str, Audiogram] = {
    name: Audiogram(name=name, frequencies=_FREQUENCIES, levels=levels)
    for name, levels in (
        ("normal", (0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
        ("N1", (10, 10, 10, 10, 10, 10, 15, 20, 30, 40)),
        ("N2", (20, 20, 20, 22.5, 25, 30, 35, 40, 45, 50)),
        ("N3", (35, 35, 35, 35, 40, 45, 50, 55, 60, 65)),
        ("N4", (55, 55, 55, 55, 55, 60, 65, 70, 75, 80)),
        ("N5", (65, 67.5, 70, 72.5, 75, 80, 80, 80, 80, 80)),
        ("N6", (75, 77.5, 80, 82.5, 85, 90, 90, 95, 100, 100)),
        ("N7", (90, 92.5, 95, 100, 105, 105, 105, 105, 105, 105)),
        ("S1", (10, 10, 10, 10, 10, 10, 15, 30, 55, 70)),
        ("S2", (20, 20, 20, 22.5, 25, 35, 55, 75, 95, 95)),
        ("S3", (30, 30, 35, 47.5, 60, 70, 75, 80, 80, 85)),
    )
}


def open_audiogram(source: str) -> Audiogram:
    """A standard audiogram by name, or a JSON file with ``frequencies`` and ``levels``.

    Raises InputError where it is neither.
    """
    by_name = {name.lower(): audiogram for name, audiogram in STANDARD.items()}
    if source.lower() in by_name:
        return by_name[source.lower()]
    path = Path(source)
    known = f"Standard audiograms: {', '.join(STANDARD)}."
    if not path.is_file():
        close = difflib.get_close_matches(source.upper(), STANDARD, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise InputError(f"No audiogram {source!r}: neither a name nor a file.", hint=hint + known)
    try:
        content = json.loads(path.read_text("utf-8"))
        if isinstance(content, dict):
            content.setdefault("name", path.stem)
        return Audiogram.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{source}: {place}: {first['msg']}.", hint=_EXAMPLE) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{source} is not an audiogram in JSON.", hint=_EXAMPLE) from error


_EXAMPLE = 'Expected {"frequencies": [250, 500, …], "levels": [20, 25, …]} in Hz and dB HL.'


def haspi(
    reference: AudioArray, estimate: AudioArray, audiogram: Audiogram, rate: int = 16_000
) -> float | None:
    """Intelligibility (0–1) for a listener; None if not installed, silent or too short."""
    if not _judgeable(reference, estimate, rate):
        return None
    from clarity.evaluator.haspi import haspi_v2
    from clarity.utils.audiogram import Audiogram as Thresholds

    heard, amplified = _presented(reference, estimate, audiogram, rate)
    thresholds = Thresholds(levels=audiogram.levels, frequencies=audiogram.frequencies)
    with _fixed_noise():
        value, _ = haspi_v2(heard, rate, amplified, rate, thresholds, LEVEL_DB_SPL)
    return float(value) if math.isfinite(value) else None


def hasqi(
    reference: AudioArray, estimate: AudioArray, audiogram: Audiogram, rate: int = 16_000
) -> float | None:
    """Quality (0–1) for a listener; None if not installed, silent or too short."""
    if not _judgeable(reference, estimate, rate):
        return None
    from clarity.evaluator.hasqi import hasqi_v2
    from clarity.utils.audiogram import Audiogram as Thresholds

    heard, amplified = _presented(reference, estimate, audiogram, rate)
    thresholds = Thresholds(levels=audiogram.levels, frequencies=audiogram.frequencies)
    with _fixed_noise():
        value, *_ = hasqi_v2(heard, rate, amplified, rate, thresholds, level1=LEVEL_DB_SPL)
    return float(value) if math.isfinite(value) else None


def _judgeable(reference: AudioArray, estimate: AudioArray, rate: int) -> bool:
    if importlib.util.find_spec("clarity") is None or len(reference) < SHORTEST_SECONDS * rate:
        return False
    return bool(np.any(reference) and np.any(estimate))


def _presented(
    reference: AudioArray, estimate: AudioArray, audiogram: Audiogram, rate: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Reference with an RMS of 1 (which stands for 65 dB SPL), and the amplified estimate."""
    from clarity.enhancer.nalr import NALR
    from clarity.utils.audiogram import Audiogram as Thresholds

    heard = np.asarray(reference, dtype=np.float64)
    gain = 1.0 / math.sqrt(float(np.mean(np.square(heard))))
    aid = NALR(NALR_TAPS, rate)
    filter_, _ = aid.build(Thresholds(levels=audiogram.levels, frequencies=audiogram.frequencies))
    amplified = np.asarray(aid.apply(filter_, gain * np.asarray(estimate, dtype=np.float64)))
    delay = NALR_TAPS // 2  # of the linear-phase filter
    return gain * heard, amplified[delay : delay + len(heard)]


@contextmanager
def _fixed_noise() -> Iterator[None]:
    """The package draws noise from numpy's global generator: the same for every call, put back
    afterwards. Its remarks on the audiogram's frequencies are kept from the terminal."""
    before, threshold = np.random.get_state(), logging.root.manager.disable
    np.random.seed(0)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        np.random.set_state(before)
        logging.disable(threshold)
