"""Golden spectra and resynthesis of every STFT contract, from a direct DFT in double precision.

Nothing of sordino and no FFT is used: the windows follow Mauler and Martin (EUSIPCO 2007) sample by
sample, divided by the sum that their overlapping products have.
Run `python tests/golden/make_spectra.py` to write spectra.npz anew.
"""

from math import cos, pi, sqrt
from pathlib import Path

import numpy as np

SAMPLES = 1700
# name: window length K, synthesis length 2M, hop
CONTRACTS = {"phone": (512, 512, 256), "mcu": (512, 512, 128), "hearing-aid": (256, 128, 64)}


def hann(n: int, length: int) -> float:
    return 0.5 * (1.0 - cos(2.0 * pi * n / length))


def windows(k: int, m2: int) -> tuple[np.ndarray, np.ndarray]:
    """Analysis and synthesis window ``[K]``; d, the zeros in front, is 0."""
    m = m2 // 2
    analysis, synthesis = np.zeros(k), np.zeros(k)
    for n in range(k):
        if n < k - m:
            analysis[n] = sqrt(hann(n, 2 * (k - m)))
            if n >= k - m2 and analysis[n] > 0.0:
                synthesis[n] = hann(n - (k - m2), m2) / analysis[n]
        else:
            analysis[n] = synthesis[n] = sqrt(hann(n - (k - m2), m2))
    return analysis, synthesis


def mask(frames: int, bins: int) -> np.ndarray:
    """A complex gain that changes from frame to frame and from bin to bin."""
    t, k = np.arange(frames)[:, None], np.arange(bins)[None, :]
    return 0.5 + 0.4 * np.cos(0.3 * t + 0.05 * k) + 0.3j * np.sin(0.2 * t - 0.03 * k)


def transform(signal: np.ndarray, k: int, m2: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Spectra ``[frames, K/2 + 1]``, and the signal after the mask (zero at half the rate)."""
    analysis, synthesis = windows(k, m2)
    scale = 1.0 / sqrt(float(np.sum(analysis**2)))
    product = analysis * synthesis
    synthesis /= sum(product[k - 1 - shift] for shift in range(0, m2, hop))
    f, n = np.arange(k // 2 + 1)[:, None], np.arange(k)[None, :]
    dft = np.exp(-2j * pi * f * n / k)
    weight = np.full(k // 2 + 1, 2.0)
    weight[[0, -1]] = 1.0
    # The last frame is the last one that still gives something to the signal.
    ends = [end for end in range(hop, len(signal) + m2, hop) if end - m2 < len(signal)]
    padded = np.concatenate((np.zeros(k), signal, np.zeros(m2)))
    spectra = np.stack([dft @ (analysis * padded[end : end + k]) * scale for end in ends])
    gain = mask(len(ends), k // 2 + 1)
    gain[:, -1] = 0.0
    out = np.zeros(len(padded))
    for end, spectrum in zip(ends, spectra * gain, strict=True):
        frame = np.real((weight * spectrum) @ np.conj(dft)) / (k * scale)
        out[end : end + k] += synthesis * frame
    return spectra, out[k : k + len(signal)]


def main() -> None:
    n = np.arange(SAMPLES)
    signal = 0.3 * np.sin(2 * pi * 440 * n / 16_000) + 0.1 * np.cos(0.00037 * n**2)
    arrays = {"signal": signal.astype(np.float32)}
    for name, (k, m2, hop) in CONTRACTS.items():
        spectra, masked = transform(arrays["signal"].astype(np.float64), k, m2, hop)
        arrays[f"{name}_spectra"] = spectra.astype(np.complex64)
        arrays[f"{name}_masked"] = masked.astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("spectra.npz"), **arrays)


if __name__ == "__main__":
    main()
