"""Quality of an estimate against its reference: SI-SDR, PESQ-WB and STOI.

PESQ and STOI come from the packages ``pesq`` and ``pystoi``. Where one is not installed, or cannot
judge a signal, the score is None: never a number that was not measured.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import multiprocessing
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from targets.errors import InputError

AudioArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Pair = tuple[AudioArray, AudioArray]  # reference, estimate

SI_SDR_LIMIT_DB = 100.0  # a perfect estimate scores this and not infinity, which JSON cannot hold
_PACKAGES = ("pesq", "pystoi")


@dataclass(frozen=True)
class Scores:
    """SI-SDR in dB, PESQ-WB (MOS-LQO, 1.04–4.64) and STOI (0–1); None where not measured."""

    si_sdr: float | None
    pesq_wb: float | None
    stoi: float | None


def si_sdr(reference: AudioArray, estimate: AudioArray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of ``[samples]`` signals, means removed.

    Le Roux et al., "SDR – half-baked or well done?", ICASSP 2019. Limited to ±100 dB. Raises
    InputError for a silent reference, different lengths or samples that are not numbers.
    """
    _check(reference, estimate)
    target = np.asarray(reference, dtype=np.float64)
    signal = np.asarray(estimate, dtype=np.float64)
    target = target - target.mean()
    signal = signal - signal.mean()
    energy = float(np.dot(target, target))
    if energy <= 0.0:
        raise InputError("SI-SDR is undefined: the reference is silent.", hint="Leave it out.")
    projected = target * (float(np.dot(signal, target)) / energy)
    kept = float(np.dot(projected, projected))
    lost = float(np.dot(signal - projected, signal - projected))
    if kept <= 0.0:
        return -SI_SDR_LIMIT_DB
    if lost <= 0.0:
        return SI_SDR_LIMIT_DB
    ratio_db = 10.0 * (math.log10(kept) - math.log10(lost))
    return min(max(ratio_db, -SI_SDR_LIMIT_DB), SI_SDR_LIMIT_DB)


def pesq_wb(reference: AudioArray, estimate: AudioArray, rate: int = 16_000) -> float | None:
    """Wide-band PESQ (ITU-T P.862.2) at 16 kHz; None if not installed or nothing can be judged.

    Signals without an utterance, shorter than a quarter of a second or silent have no score.
    """
    if importlib.util.find_spec("pesq") is None or rate != 16_000:
        return None
    import pesq

    if not np.any(reference) or not np.any(estimate):
        return None
    try:
        value = pesq.pesq(rate, np.asarray(reference), np.asarray(estimate), "wb")
    except (pesq.NoUtterancesError, pesq.BufferTooShortError):
        return None
    return float(value) if math.isfinite(value) else None


def stoi(reference: AudioArray, estimate: AudioArray, rate: int = 16_000) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011); None if not installed or too short.

    It needs about 0.4 s of active speech.
    """
    if importlib.util.find_spec("pystoi") is None:
        return None
    import pystoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            value = pystoi.stoi(np.asarray(reference), np.asarray(estimate), rate)
        except (RuntimeWarning, ValueError):
            return None  # too few active frames: the package would return a made-up 1e-5
    return float(value) if math.isfinite(value) else None


def score(reference: AudioArray, estimate: AudioArray, rate: int = 16_000) -> Scores:
    """All metrics of one pair of ``[samples]`` signals; SI-SDR is None for a silent reference."""
    _check(reference, estimate)
    silent = not np.any(np.asarray(reference) != np.mean(reference))
    return Scores(
        si_sdr=None if silent else si_sdr(reference, estimate),
        pesq_wb=pesq_wb(reference, estimate, rate),
        stoi=None if silent else stoi(reference, estimate, rate),
    )


def score_many(pairs: Sequence[Pair], rate: int = 16_000, workers: int = 1) -> list[Scores]:
    """Scores of many pairs in their order: the same numbers for any number of worker processes.

    Workers are started afresh (not forked), which is safe beside torch and its threads; a script
    that asks for more than one must keep its entry point under ``if __name__ == "__main__"``.
    """
    if workers <= 1 or len(pairs) < 2:
        return [_score_pair(pair, rate) for pair in pairs]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(pairs)), mp_context=context) as pool:
        return list(pool.map(partial(_score_pair, rate=rate), pairs))


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean of each metric over the items that have it; None where none has."""
    return Scores(
        si_sdr=_mean([s.si_sdr for s in scores]),
        pesq_wb=_mean([s.pesq_wb for s in scores]),
        stoi=_mean([s.stoi for s in scores]),
    )


def metric_versions() -> dict[str, str]:
    """Package → installed version, or "not installed"."""
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _score_pair(pair: Pair, rate: int) -> Scores:
    return score(pair[0], pair[1], rate)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _check(reference: AudioArray, estimate: AudioArray) -> None:
    if reference.ndim != 1 or reference.shape != estimate.shape or not len(reference):
        raise InputError(
            f"Cannot score signals of shapes {reference.shape} and {estimate.shape}.",
            hint="Reference and estimate must be mono and equally long.",
        )
    if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
        raise InputError("Cannot score samples that are not numbers (NaN or infinity).", hint="")
