"""The STFT in numpy, as a contract demands it: whole signals and live frames.

Every implementation (numpy here, torch in ``distill``) is tested against the same golden spectra.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from runtime.contract import (
    CONTRACTS,
    DEFAULT_CONTRACT,
    ContractField,
    StftContract,
    resolve_contract,
)

__all__ = [
    "CONTRACTS",
    "DEFAULT_CONTRACT",
    "FEATURE_CHANNELS",
    "POWER_FLOOR",
    "ComplexArray",
    "ContractField",
    "FloatArray",
    "StftContract",
    "StreamingAnalyser",
    "StreamingSynthesiser",
    "analyse",
    "apply_mask",
    "features",
    "resolve_contract",
    "synthesise",
]

FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]

FEATURE_CHANNELS = 3  # compressed magnitude, real part, imaginary part
POWER_FLOOR = 1e-12  # added to |Y|² before compression; about 120 dB below full scale


def analyse(contract: StftContract, signal: FloatArray) -> ComplexArray:
    """Spectra ``[frames, frequencies]`` of a signal ``[samples]``.

    The signal is preceded by ``history`` zeros and followed by zeros, so that frame ``t`` ends
    with sample ``(t + 1)·hop − 1`` and the last frames flush the overlap.
    """
    hops = contract.frames(len(signal)) * contract.hop
    padded = np.zeros(hops, dtype=np.float32)
    padded[: len(signal)] = signal
    return StreamingAnalyser(contract).push_many(padded)


def synthesise(contract: StftContract, spectra: ComplexArray, samples: int) -> FloatArray:
    """Signal ``[samples]`` from spectra ``[frames, frequencies]``; inverse of :func:`analyse`."""
    signal = StreamingSynthesiser(contract).push_many(spectra)
    return signal[contract.output_delay : contract.output_delay + samples]


class StreamingAnalyser:
    """Frame-by-frame analysis: ``push`` takes ``[hop]`` samples and returns ``[frequencies]``."""

    def __init__(self, contract: StftContract) -> None:
        self._contract = contract
        self._window = contract.analysis_window()
        self._last: FloatArray = np.zeros(contract.history, dtype=np.float32)

    def push(self, block: FloatArray) -> ComplexArray:
        return self.push_many(block)[0]

    def push_many(self, blocks: FloatArray) -> ComplexArray:
        """``[n·hop]`` samples at once, n ≥ 1: the same spectra as one by one, ``[n, frequencies]``.

        Most of the time of a single hop is Python's; recordings need not pay it for each.
        """
        contract = self._contract
        heard = np.concatenate((self._last, blocks))
        self._last = heard[len(heard) - contract.history :]
        frames = np.lib.stride_tricks.sliding_window_view(heard, contract.window_length)
        windowed = frames[:: contract.hop] * self._window
        spectra = np.fft.rfft(windowed, contract.fft_size) * contract.scale
        return spectra.astype(np.complex64)


class StreamingSynthesiser:
    """Frame-by-frame overlap-add: ``push`` takes ``[frequencies]`` and returns ``[hop]`` samples,
    which trail the analysed input by ``output_delay``."""

    def __init__(self, contract: StftContract) -> None:
        self._contract = contract
        self._window = contract.synthesis_window()
        shape = (contract.overlap - 1, contract.hop)
        self._begun: FloatArray = np.zeros(shape, dtype=np.float32)  # hops that lack frames yet

    def push(self, spectrum: ComplexArray) -> FloatArray:
        return self.push_many(spectrum[np.newaxis])

    def push_many(self, spectra: ComplexArray) -> FloatArray:
        """``[n, frequencies]`` at once, n ≥ 1: the same samples as one by one, ``[n·hop]``."""
        contract, count = self._contract, len(spectra)
        waves = np.fft.irfft(spectra, contract.fft_size)
        kept = waves[:, contract.window_length - contract.synthesis_length : contract.window_length]
        frames = (kept / contract.scale * self._window).astype(np.float32)
        parts = frames.reshape(count, contract.overlap, contract.hop)
        sums = np.zeros((count + contract.overlap - 1, contract.hop), dtype=np.float32)
        sums[: contract.overlap - 1] = self._begun
        for part in reversed(range(contract.overlap)):  # oldest frame first, as hop by hop
            sums[part : part + count] += parts[:, part]
        self._begun = sums[count:].copy()
        return sums[:count].reshape(-1)


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
    """Spectra ``[..., frequencies]`` times a mask: real ``[..., bins, 1]``, complex ``[..., bins,
    2]`` of real and imaginary part.

    ``floor`` is the linear attenuation limit: ``floor·noisy + (1 − floor)·masked``.
    """
    gain = np.zeros(spectra.shape, dtype=np.complex64)
    gain[..., : contract.bins] = mask[..., 0]
    if mask.shape[-1] == 2:
        gain.imag[..., : contract.bins] = mask[..., 1]
    result: ComplexArray = (spectra * (floor + (1.0 - floor) * gain)).astype(np.complex64)
    return result
