"""Golden scores of fixed signals, computed by the metric packages themselves (no sordino).

Run `python tests/golden/make_scores.py` to write scores.json anew. SI-SDR follows the definition
of Le Roux et al. 2019, with means removed, in plain double precision.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pesq
import pystoi

RATE = 16_000


def signals() -> tuple[np.ndarray, np.ndarray]:
    """Speech-like pulses through moving resonances, and noise: only numpy, fixed seeds."""
    n = np.arange(4 * RATE)
    pitch = 110 + 25 * np.sin(2 * np.pi * 0.7 * n / RATE)
    phase = np.cumsum(pitch) / RATE
    vowel = np.zeros(len(n))
    for order in range(1, 31):
        frequency = order * pitch
        gain = sum(
            np.exp(-(((frequency - centre) / 150.0) ** 2))
            for centre in (
                500 + 200 * np.sin(2 * np.pi * 1.3 * n / RATE),
                1500 + 500 * np.sin(2 * np.pi * 0.9 * n / RATE),
                2600,
            )
        )
        vowel += gain * np.sin(2 * np.pi * order * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * n / RATE) + 0.3, 0.0, None)
    clean = vowel * syllables * (n % (2 * RATE) < 1.7 * RATE)
    clean = 0.1 * clean / np.std(clean)
    noise = np.random.Generator(np.random.PCG64(11)).standard_normal(len(n))
    return clean.astype(np.float32), noise.astype(np.float32)


def noisy_versions() -> dict[str, np.ndarray]:
    """Name → estimate: noise at three levels, a delay-free gain, an offset, clipping."""
    clean, noise = signals()
    return {
        "noise at 10 dB": clean + np.float32(0.03) * noise,
        "noise at 20 dB": clean + np.float32(0.01) * noise,
        "noise at 40 dB": clean + np.float32(0.001) * noise,
        "half gain and offset": np.float32(0.5) * clean + np.float32(0.1),
        "clipped": np.clip(clean, -0.15, 0.15),
    }


def reference_si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    s, e = reference.astype(np.float64), estimate.astype(np.float64)
    s, e = s - s.mean(), e - e.mean()
    alpha = (e @ s) / (s @ s)
    return float(10 * np.log10(np.sum((alpha * s) ** 2) / np.sum((alpha * s - e) ** 2)))


def main() -> None:
    clean, _ = signals()
    scores = {
        name: {
            "si_sdr": reference_si_sdr(clean, estimate),
            "pesq_wb": float(pesq.pesq(RATE, clean, estimate, "wb")),
            "stoi": float(pystoi.stoi(clean, estimate, RATE)),
        }
        for name, estimate in noisy_versions().items()
    }
    made_by = {name: importlib.metadata.version(name) for name in ("pesq", "pystoi", "numpy")}
    text = json.dumps({"made_by": made_by, "scores": scores}, indent=1)
    Path(__file__).with_name("scores.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
