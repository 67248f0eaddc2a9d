"""SI-SDR, PESQ-WB, STOI and ESTOI: an estimate against its clean reference."""

from __future__ import annotations

import importlib.util
import math
import warnings

import numpy as np
import numpy.typing as npt

from targets.errors import InputError

AudioArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]

SI_SDR_LIMIT_DB = 100.0  # a perfect estimate scores this and not infinity, which JSON cannot hold


def si_sdr(reference: AudioArray, estimate: AudioArray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of ``[samples]`` signals, means removed.

    Le Roux et al., "SDR – half-baked or well done?", ICASSP 2019. Limited to ±100 dB. Raises
    InputError for a silent reference, different lengths or samples that are not numbers.
    """
    check_pair(reference, estimate)
    target = np.asarray(reference, dtype=np.float64)
    signal = np.asarray(estimate, dtype=np.float64)
    target = target - target.mean()
    signal = signal - signal.mean()
    energy = _inner(target, target)
    if energy <= 0.0:
        raise InputError("SI-SDR is undefined: the reference is silent.", hint="Leave it out.")
    projected = target * (_inner(signal, target) / energy)
    kept = _inner(projected, projected)
    lost = _inner(signal - projected, signal - projected)
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
    return _stoi(reference, estimate, rate, extended=False)


def estoi(reference: AudioArray, estimate: AudioArray, rate: int = 16_000) -> float | None:
    """Extended STOI (Jensen and Taal 2016), for modulated noise; None as for :func:`stoi`."""
    return _stoi(reference, estimate, rate, extended=True)


def check_pair(reference: AudioArray, estimate: AudioArray) -> None:
    """Raise InputError for signals that are not mono, equally long and finite."""
    if reference.ndim != 1 or reference.shape != estimate.shape or not len(reference):
        raise InputError(
            f"Cannot score signals of shapes {reference.shape} and {estimate.shape}.",
            hint="Reference and estimate must be mono and equally long.",
        )
    if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
        raise InputError("Cannot score samples that are not numbers (NaN or infinity).", hint="")


def _stoi(
    reference: AudioArray, estimate: AudioArray, rate: int, *, extended: bool
) -> float | None:
    if importlib.util.find_spec("pystoi") is None:
        return None
    import pystoi

    # ESTOI adds noise of 1e-16 from numpy's global generator: fixed, so that runs repeat.
    before = np.random.get_state()
    np.random.seed(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            value = pystoi.stoi(np.asarray(reference), np.asarray(estimate), rate, extended)
    except (RuntimeWarning, ValueError):
        return None  # too few active frames: the package would return a made-up 1e-5
    finally:
        np.random.set_state(before)
    return float(value) if math.isfinite(value) else None


def _inner(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Inner product summed by numpy itself: that of a BLAS depends on its number of threads."""
    return float(np.sum(first * second))
