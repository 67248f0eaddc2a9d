"""The signal that models are timed on."""

from __future__ import annotations

import numpy as np

from runtime.stft import FloatArray, StftContract


def probe_signal(contract: StftContract, seconds: float = 8.0) -> list[FloatArray]:
    """Hops of noise whose level swells and fades four times a second, as speech does."""
    generator = np.random.default_rng(0)
    hops = int(seconds * contract.sample_rate / contract.hop)
    at = np.arange(hops * contract.hop) / contract.sample_rate
    level = 0.1 * np.sin(np.pi * 4.0 * at) ** 2 + 0.001
    signal = (level * generator.standard_normal(len(at))).astype(np.float32)
    return list(signal.reshape(hops, contract.hop))
