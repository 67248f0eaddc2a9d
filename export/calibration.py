"""Activation ranges over real signals, with the states carried from frame to frame.

The true minimum and maximum are kept: a moving average clips peaks, and a range seen from zero
states alone would pin the state scales near zero. Histograms, on demand, are what other choices
are made from (see :mod:`export.ranges`): one pass over the signals serves them all.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from export.executor import StepExecutor
from export.histogram import Histogram, RunningHistogram
from export.step_graph import StepGraph
from runtime.stft import StftContract, analyse, features
from targets.errors import InputError

Range = tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Ranges by tensor name, how many frames gave them, and the SHA-256 of the signals.

    ``ranges`` are what int8 tensors cover, chosen by ``method``; ``extremes`` the true minima and
    maxima where they are others.
    """

    ranges: dict[str, Range]
    frames: int
    sha256: str
    method: str = "minmax"
    extremes: Mapping[str, Range] = field(default_factory=dict, repr=False)
    histograms: Mapping[str, Histogram] = field(default_factory=dict, repr=False, compare=False)

    @property
    def reached(self) -> Mapping[str, Range]:
        """What int16 tensors cover: 16 bits reach the true extremes and are fine enough there."""
        return self.ranges | dict(self.extremes)


def calibrate(
    graph: StepGraph,
    contract: StftContract,
    signals: Sequence[npt.NDArray[np.float32]],
    progress: Callable[[float], None] | None = None,
    *,
    histograms: bool = False,
) -> Calibration:
    """True extremes of every tensor over noisy signals ``[samples]`` at the contract's rate.

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
    running: defaultdict[str, RunningHistogram] = defaultdict(RunningHistogram)
    for frame, values in enumerate(StepExecutor(graph).sequence(stacked)):
        for name, array in values.items():
            lowest[name] = min(lowest.get(name, np.inf), float(array.min()))
            highest[name] = max(highest.get(name, -np.inf), float(array.max()))
            if histograms:
                running[name].add(array)
        if progress is not None:
            progress((frame + 1) / stacked.shape[1])
    ranges = {name: (lowest[name], highest[name]) for name in lowest}
    return Calibration(
        ranges=ranges,
        frames=stacked.shape[0] * stacked.shape[1],
        sha256=_fingerprint(signals),
        histograms={name: one.result() for name, one in running.items()},
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
