"""What colours sound on its way: equalizers of the sources, the microphone's filter, clipping."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from distill import biquads
from distill.biquads import Sections
from distill.corpus import SAMPLE_RATE, FloatArray
from distill.levels import decibels, peak

Range = tuple[float, float]

TILT_PIVOT_HZ = 1000.0


class _Section(BaseModel):
    """Ranges are ``[low, high]``; a probability of 0 leaves mixtures as they are without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probability: float = Field(0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _ranges_rise(self) -> _Section:
        for name, value in self:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name} must rise: [{value[0]}, {value[1]}]")
            if name.endswith("_hz") and not 0.0 < value[0] <= value[1] < SAMPLE_RATE / 2:
                raise ValueError(f"{name} must lie between 0 and {SAMPLE_RATE // 2} Hz")
        return self


class Equalizer(_Section):
    """A smooth filter for the speech and another for the noise, each with the probability."""

    gain_db: float = Field(6.0, ge=0.0, le=24.0)  # of each shelf and peak: at most, up or down
    peaks: NonNegativeInt = 2


class Microphone(_Section):
    """One filter for the whole mixture, target included."""

    high_pass_hz: Range = (20.0, 150.0)
    low_pass_hz: Range = (4000.0, 7900.0)
    tilt_db: Range = (-6.0, 6.0)  # from 0 Hz to half the sample rate


class Clipping(_Section):
    """The noisy signal is cut off this far below its peak; the target is not."""

    depth_db: Range = (1.0, 12.0)


def equalizer(settings: Equalizer, rng: np.random.Generator) -> Sections:
    """A low shelf, a high shelf and peaks between them, ``[2 + peaks, 6]``."""
    limit = settings.gain_db
    sections = [
        biquads.low_shelf(_geometric(rng, (80.0, 400.0)), rng.uniform(-limit, limit)),
        biquads.high_shelf(_geometric(rng, (2000.0, 6000.0)), rng.uniform(-limit, limit)),
    ]
    for _ in range(settings.peaks):
        frequency, quality = _geometric(rng, (200.0, 5000.0)), _geometric(rng, (0.4, 1.5))
        sections.append(biquads.peak(frequency, rng.uniform(-limit, limit), quality))
    return np.concatenate(sections)


def microphone(settings: Microphone, rng: np.random.Generator) -> Sections:
    """High-pass, low-pass and tilt, ``[3, 6]``."""
    return np.concatenate(
        [
            biquads.high_pass(_geometric(rng, settings.high_pass_hz)),
            biquads.low_pass(_geometric(rng, settings.low_pass_hz)),
            biquads.tilt(TILT_PIVOT_HZ, rng.uniform(*settings.tilt_db)),
        ]
    )


def clipped(settings: Clipping, rng: np.random.Generator, noisy: FloatArray) -> FloatArray:
    """``noisy`` with every sample limited to ``depth_db`` below the peak."""
    limit = np.float32(peak(noisy)) * decibels(-rng.uniform(*settings.depth_db))
    return np.clip(noisy, -limit, limit)


def _geometric(rng: np.random.Generator, bounds: Range) -> float:
    """Uniform on a logarithmic scale, as frequencies are heard."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))
