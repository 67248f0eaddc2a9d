"""Second-order filter sections, and the short response that stands for several of them.

Sections are rows ``b0 b1 b2 1 a1 a2`` as scipy.signal has them. Shelves and peaks after
R. Bristow-Johnson, *Audio EQ Cookbook* (W3C note, 2021).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft

from distill.corpus import SAMPLE_RATE, FloatArray

Sections = npt.NDArray[np.float64]  # [sections, 6]

# 128 ms. What a 20 Hz high-pass still does after that, the slowest there is, is 90 dB down.
FIR_TAPS = 2048


def peak(frequency: float, gain_db: float, quality: float) -> Sections:
    """``gain_db`` at ``frequency`` (Hz), 0 dB far from it."""
    amplitude, angle = 10.0 ** (gain_db / 40.0), _angle(frequency)
    alpha = np.sin(angle) / (2.0 * quality)
    middle = -2.0 * np.cos(angle)
    return _section(
        (1.0 + alpha * amplitude, middle, 1.0 - alpha * amplitude),
        (1.0 + alpha / amplitude, middle, 1.0 - alpha / amplitude),
    )


def low_shelf(frequency: float, gain_db: float) -> Sections:
    """``gain_db`` far below ``frequency`` (Hz), half of it there, 0 dB above (slope 1)."""
    return _shelf(frequency, gain_db, side=1.0)


def high_shelf(frequency: float, gain_db: float) -> Sections:
    """``gain_db`` far above ``frequency`` (Hz), half of it there, 0 dB below (slope 1)."""
    return _shelf(frequency, gain_db, side=-1.0)


def high_pass(frequency: float) -> Sections:
    """Second-order Butterworth: −3 dB at ``frequency`` (Hz)."""
    return _pass(frequency, side=-1.0)


def low_pass(frequency: float) -> Sections:
    """Second-order Butterworth: −3 dB at ``frequency`` (Hz)."""
    return _pass(frequency, side=1.0)


def tilt(frequency: float, gain_db: float) -> Sections:
    """First order: −gain/2 at 0 Hz, 0 dB at ``frequency``, +gain/2 at half the sample rate.

    (A s + ω)/(s + A ω) with A = 10^(gain/40), by the bilinear transform.
    """
    amplitude, warped = 10.0 ** (gain_db / 40.0), np.tan(_angle(frequency) / 2.0)
    return _section(
        (amplitude + warped, warped - amplitude, 0.0),
        (1.0 + amplitude * warped, amplitude * warped - 1.0, 0.0),
    )


def impulse_response(sections: Sections) -> FloatArray:
    """``[FIR_TAPS]`` of all sections in a row; what comes later is folded back, 90 dB down."""
    polynomials = (sections.reshape(-1, 3) @ _delays()).reshape(len(sections), 2, -1)
    numerator, denominator = np.prod(polynomials, axis=0)
    return irfft(numerator / denominator, FIR_TAPS).astype(np.float32)


@cache
def _delays() -> npt.NDArray[np.complex128]:
    """z^0, z^−1, z^−2 ``[3, bins]`` on the unit circle."""
    step = np.exp(-2j * np.pi * np.arange(FIR_TAPS // 2 + 1) / FIR_TAPS)
    return np.stack([np.ones_like(step), step, step * step])


def _angle(frequency: float) -> float:
    return 2.0 * np.pi * frequency / SAMPLE_RATE


def _shelf(frequency: float, gain_db: float, side: float) -> Sections:
    """The cookbook's low shelf (``side`` 1); its high shelf differs in three signs (−1)."""
    amplitude, angle = 10.0 ** (gain_db / 40.0), _angle(frequency)
    cosine = side * np.cos(angle)
    slope = 2.0 * np.sqrt(amplitude) * np.sin(angle) * np.sqrt(0.5)  # 2 √A α with S = 1
    more, less = amplitude + 1.0, amplitude - 1.0
    return _section(
        (
            amplitude * (more - less * cosine + slope),
            side * 2.0 * amplitude * (less - more * cosine),
            amplitude * (more - less * cosine - slope),
        ),
        (
            more + less * cosine + slope,
            side * -2.0 * (less + more * cosine),
            more + less * cosine - slope,
        ),
    )


def _pass(frequency: float, side: float) -> Sections:
    """The cookbook's low-pass (``side`` 1) or high-pass (−1) with Q = 1/√2."""
    angle = _angle(frequency)
    alpha, cosine = np.sin(angle) * np.sqrt(0.5), np.cos(angle)
    edge = (1.0 - side * cosine) / 2.0
    return _section((edge, side * 2.0 * edge, edge), (1.0 + alpha, -2.0 * cosine, 1.0 - alpha))


def _section(b: tuple[float, float, float], a: tuple[float, float, float]) -> Sections:
    return np.array([(*b, *a)]) / a[0]
