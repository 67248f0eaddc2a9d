"""The STFT contract and its numpy implementation: whole signals and live frames.

Every implementation (numpy here, torch in ``distill``) is tested against the same golden spectra.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]

FEATURE_CHANNELS = 3  # compressed magnitude, real part, imaginary part
POWER_FLOOR = 1e-12  # added to |Y|² before compression; about 120 dB below full scale


class StftContract(BaseModel):
    """All a person needs to compute the same features and resynthesis elsewhere.

    The analysis window is also the synthesis window; a square-root Hann window at half overlap
    reconstructs perfectly. Lengths are in samples. ``bins`` is how many of the lowest FFT bins
    the network sees; the ones above it are set to zero on output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: int = 16_000
    window: Literal["sqrt_hann_periodic"] = "sqrt_hann_periodic"
    window_length: int = 512
    hop: int = 256
    fft_size: int = 512
    scale: float = 1.0 / 16.0  # 1/sqrt(sum of window²): white noise keeps its standard deviation
    compression: float = 0.3
    bins: int = 256
    padding: Literal["zeros"] = "zeros"

    @model_validator(mode="after")
    def _reconstructs(self) -> StftContract:
        if self.window_length != 2 * self.hop or self.fft_size != self.window_length:
            raise ValueError("the square-root Hann contract needs window = fft = 2 × hop")
        if not 0 < self.bins <= self.fft_size // 2 + 1:
            raise ValueError("bins must lie between 1 and fft_size/2 + 1")
        return self

    @property
    def frequencies(self) -> int:
        """Number of one-sided FFT bins."""
        return self.fft_size // 2 + 1

    @property
    def algorithmic_delay(self) -> int:
        """Samples from an input sample to the output that needs it: one window (no look-ahead)."""
        return self.window_length

    @property
    def output_delay(self) -> int:
        """Samples by which the block-wise output trails the input, to be cut from a file."""
        return self.window_length - self.hop

    def window_values(self) -> FloatArray:
        """Window of shape ``[window_length]``: sqrt(0.5 − 0.5·cos(2πn/N)), periodic."""
        n = np.arange(self.window_length, dtype=np.float64)
        hann = 0.5 - 0.5 * np.cos(2.0 * math.pi * n / self.window_length)
        return np.sqrt(hann).astype(np.float32)


def analyse(contract: StftContract, signal: FloatArray) -> ComplexArray:
    """Spectra ``[frames, frequencies]`` of a signal ``[samples]``.

    The signal is preceded by ``output_delay`` zeros and followed by zeros, so that frame ``t``
    ends with sample ``(t + 1)·hop − 1`` and a last frame flushes the overlap.
    """
    frames = -(-len(signal) // contract.hop) + 1
    padded = np.zeros(contract.output_delay + frames * contract.hop, dtype=np.float32)
    padded[contract.output_delay : contract.output_delay + len(signal)] = signal
    views = np.lib.stride_tricks.sliding_window_view(padded, contract.window_length)
    windowed = views[:: contract.hop] * contract.window_values()
    spectra = np.fft.rfft(windowed, contract.fft_size, axis=-1) * contract.scale
    return spectra.astype(np.complex64)


def synthesise(contract: StftContract, spectra: ComplexArray, samples: int) -> FloatArray:
    """Signal ``[samples]`` from spectra ``[frames, frequencies]``; inverse of :func:`analyse`."""
    blocks = np.fft.irfft(spectra, contract.fft_size, axis=-1) / contract.scale
    blocks = (blocks * contract.window_values()).astype(np.float32)
    signal = np.zeros((len(blocks) + 1) * contract.hop, dtype=np.float32)
    halves = blocks.reshape(len(blocks), 2, contract.hop)
    signal[: -contract.hop] += halves[:, 0].reshape(-1)
    signal[contract.hop :] += halves[:, 1].reshape(-1)
    return signal[contract.output_delay : contract.output_delay + samples]


class StreamingAnalyser:
    """Frame-by-frame analysis: ``push`` takes ``[hop]`` samples and returns ``[frequencies]``."""

    def __init__(self, contract: StftContract) -> None:
        self._contract = contract
        self._window = contract.window_values()
        self._last: FloatArray = np.zeros(contract.hop, dtype=np.float32)

    def push(self, block: FloatArray) -> ComplexArray:
        return self.push_many(block)[0]

    def push_many(self, blocks: FloatArray) -> ComplexArray:
        """``[n·hop]`` samples at once, n ≥ 1: the same spectra as one by one, ``[n, frequencies]``.

        Most of the time of a single hop is Python's; recordings need not pay it for each.
        """
        halves = np.concatenate((self._last, blocks)).reshape(-1, self._contract.hop)
        self._last = halves[-1]
        frames = np.concatenate((halves[:-1], halves[1:]), axis=1)  # a window is two hops
        spectra = np.fft.rfft(frames * self._window, self._contract.fft_size)
        return (spectra * self._contract.scale).astype(np.complex64)


class StreamingSynthesiser:
    """Frame-by-frame overlap-add: ``push`` takes ``[frequencies]`` and returns ``[hop]`` samples,
    which trail the analysed input by ``output_delay``."""

    def __init__(self, contract: StftContract) -> None:
        self._contract = contract
        self._window = contract.window_values()
        self._overlap: FloatArray = np.zeros(contract.output_delay, dtype=np.float32)

    def push(self, spectrum: ComplexArray) -> FloatArray:
        return self.push_many(spectrum[np.newaxis])

    def push_many(self, spectra: ComplexArray) -> FloatArray:
        """``[n, frequencies]`` at once, n ≥ 1: the same samples as one by one, ``[n·hop]``."""
        hop = self._contract.hop
        waves = np.fft.irfft(spectra, self._contract.fft_size) / self._contract.scale
        frames: FloatArray = (waves * self._window).astype(np.float32)
        out = frames[:, :hop].copy()
        out[0] += self._overlap
        out[1:] += frames[:-1, hop:]
        self._overlap = frames[-1, hop:].copy()
        return out.reshape(-1)


def features(contract: StftContract, spectra: ComplexArray) -> FloatArray:
    """Network features ``[..., bins, 3]`` of spectra ``[..., frequencies]``.

    Channels are |Y|^c, and the real and imaginary parts scaled by |Y|^(c−1), c the compression.
    """
    kept = spectra[..., : contract.bins]
    power = kept.real**2 + kept.imag**2 + POWER_FLOOR
    gain = power ** (0.5 * (contract.compression - 1.0))
    channels = (np.sqrt(power) * gain, kept.real * gain, kept.imag * gain)
    return np.stack(channels, axis=-1).astype(np.float32)


def apply_mask(
    contract: StftContract, spectra: ComplexArray, mask: FloatArray, floor: float = 0.0
) -> ComplexArray:
    """Spectra ``[..., frequencies]`` times a complex mask ``[..., bins, 2]``.

    ``floor`` is the linear attenuation limit: ``floor·noisy + (1 − floor)·masked``.
    """
    gain = np.zeros(spectra.shape, dtype=np.complex64)
    gain[..., : contract.bins] = mask[..., 0] + 1j * mask[..., 1]
    result: ComplexArray = (spectra * (floor + (1.0 - floor) * gain)).astype(np.complex64)
    return result
