"""Activation ranges over real signals, with the states carried from frame to frame.

The true minimum and maximum are kept: a moving average clips peaks, and a range seen from zero
states alone would pin the state scales near zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.executor import StepExecutor
from export.step_graph import StepGraph
from runtime.stft import StftContract, analyse, features
from targets.errors import InputError

Range = tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Ranges by tensor name, how many frames gave them, and the SHA-256 of the signals."""

    ranges: dict[str, Range]
    frames: int
    sha256: str


def calibrate(
    graph: StepGraph,
    contract: StftContract,
    signals: Sequence[npt.NDArray[np.float32]],
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Ranges of every tensor over noisy signals ``[samples]`` at the contract's rate.

    The signals run side by side as independent streams; a shorter one ends in silence.
    Raises InputError when there is nothing to hear in them.
    """
    if not any(len(signal) and np.any(signal) for signal in signals):
        raise InputError(
            "The calibration signals are empty or silent.", hint="Give noisy speech as data."
        )
    stacked = stack_features(contract, signals)
    lowest: dict[str, float] = {}
    highest: dict[str, float] = {}
    for frame, values in enumerate(StepExecutor(graph).sequence(stacked)):
        for name, array in values.items():
            lowest[name] = min(lowest.get(name, np.inf), float(array.min()))
            highest[name] = max(highest.get(name, -np.inf), float(array.max()))
        if progress is not None:
            progress((frame + 1) / stacked.shape[1])
    return Calibration(
        ranges={name: (lowest[name], highest[name]) for name in lowest},
        frames=stacked.shape[0] * stacked.shape[1],
        sha256=_fingerprint(signals),
    )


def stack_features(
    contract: StftContract, signals: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    """Features ``[signals, frames, bins, 3]``; shorter signals end in silence."""
    longest = max(map(len, signals))
    padded = (np.pad(signal, (0, longest - len(signal))) for signal in signals)
    return np.stack([features(contract, analyse(contract, signal)) for signal in padded])


def _fingerprint(signals: Sequence[npt.NDArray[np.float32]]) -> str:
    digest = hashlib.sha256()
    for signal in signals:
        digest.update(len(signal).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(signal, dtype="<f4").tobytes())
    return digest.hexdigest()
