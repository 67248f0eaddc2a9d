"""Power of a signal: over all of it, and over the stretches in which somebody speaks."""

from __future__ import annotations

import numpy as np

from distill.corpus import FloatArray

FRAME = 320  # 20 ms: the frame over which activity is judged
ACTIVITY_RANGE_DB = 40.0  # frames this far below the loudest one are not active
SILENCE_POWER = 1e-9  # −90 dBFS: what is quieter counts as silent


def active_power(signal: FloatArray) -> float:
    """Mean power over the frames within ``ACTIVITY_RANGE_DB`` of the loudest (0 for silence)."""
    whole = len(signal) - len(signal) % FRAME
    frames = signal[:whole].reshape(-1, FRAME) if whole else signal.reshape(1, -1)
    powers = np.einsum("ij,ij->i", frames, frames) / frames.shape[1]
    loudest = float(powers.max())
    if loudest <= 0.0:
        return 0.0
    return float(powers[powers >= loudest * 10.0 ** (-ACTIVITY_RANGE_DB / 10.0)].mean())


def mean_power(signal: FloatArray) -> float:
    return float(np.dot(signal, signal)) / max(len(signal), 1)


def peak(signal: FloatArray) -> float:
    """Largest absolute value."""
    return max(float(signal.max()), -float(signal.min()))


def decibels(gain_db: float) -> np.float32:
    """The factor that raises amplitudes by ``gain_db``."""
    return np.float32(10.0 ** (gain_db / 20.0))
