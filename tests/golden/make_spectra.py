"""Golden spectra of the STFT contract, from a direct DFT in double precision (no FFT, no sordino).

Run `python tests/golden/make_spectra.py` to write spectra.npz anew.
"""

from pathlib import Path

import numpy as np

SAMPLES, HOP, LENGTH, SCALE = 1700, 256, 512, 1.0 / 16.0


def main() -> None:
    n = np.arange(SAMPLES)
    signal = 0.3 * np.sin(2 * np.pi * 440 * n / 16_000) + 0.1 * np.cos(0.00037 * n**2)
    signal = signal.astype(np.float32)
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH))
    frames = -(-SAMPLES // HOP) + 1
    padded = np.zeros(LENGTH - HOP + frames * HOP)
    padded[LENGTH - HOP : LENGTH - HOP + SAMPLES] = signal
    k, m = np.arange(LENGTH // 2 + 1)[:, None], np.arange(LENGTH)[None, :]
    dft = np.exp(-2j * np.pi * k * m / LENGTH)
    spectra = np.stack(
        [dft @ (window * padded[t * HOP : t * HOP + LENGTH]) * SCALE for t in range(frames)]
    )
    magnitude = np.abs(spectra[:, :256])
    compressed = magnitude**0.3
    np.savez_compressed(
        Path(__file__).with_name("spectra.npz"),
        signal=signal,
        spectra=spectra.astype(np.complex64),
        compressed=compressed.astype(np.float32),
    )


if __name__ == "__main__":
    main()
