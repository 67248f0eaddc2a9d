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
        self._window = contract.analysis_window() * np.float32(contract.scale)
        self._last: FloatArray = np.zeros(contract.history, dtype=np.float32)

    def push(self, block: FloatArray) -> ComplexArray:
        return self.push_many(block)[0]

    def push_many(self, blocks: FloatArray) -> ComplexArray:
        """``[n·hop]`` samples at once, n ≥ 1: the same spectra as one by one, ``[n, frequencies]``.

        Most of the time of a single hop is Python's; recordings need not pay it for each.
        """
        contract = self._contract
        heard = np.concatenate((self._last, blocks), dtype=np.float32)
        self._last = heard[len(heard) - contract.history :]
        spectra: ComplexArray = np.fft.rfft(
            self._frames(heard) * self._window, contract.fft_size
        ).astype(np.complex64, copy=False)
        return spectra

    def _frames(self, heard: FloatArray) -> FloatArray:
        """``[n, window_length]``; the view of many costs more than all else that a single needs."""
        contract = self._contract
        if len(heard) == contract.window_length:
            return heard[np.newaxis]
        frames = np.lib.stride_tricks.sliding_window_view(heard, contract.window_length)
        return frames[:: contract.hop]


class StreamingSynthesiser:
    """Frame-by-frame overlap-add: ``push`` takes ``[frequencies]`` and returns ``[hop]`` samples,
    which trail the analysed input by ``output_delay``."""

    def __init__(self, contract: StftContract) -> None:
        self._contract = contract
        self._window = contract.synthesis_window() / np.float32(contract.scale)
        shape = (contract.overlap - 1, contract.hop)
        self._begun: FloatArray = np.zeros(shape, dtype=np.float32)  # hops that lack frames yet

    def push(self, spectrum: ComplexArray) -> FloatArray:
        return self.push_many(spectrum[np.newaxis])

    def push_many(self, spectra: ComplexArray) -> FloatArray:
        """``[n, frequencies]`` at once, n ≥ 1: the same samples as one by one, ``[n·hop]``."""
        contract, count = self._contract, len(spectra)
        waves = np.fft.irfft(spectra, contract.fft_size)
        kept = waves[:, contract.window_length - contract.synthesis_length : contract.window_length]
        parts = (kept * self._window).reshape(count, contract.overlap, contract.hop)
        if count == 1:
            return self._one(parts[0])
        sums = np.zeros((count + contract.overlap - 1, contract.hop), dtype=np.float32)
        sums[: contract.overlap - 1] = self._begun
        for part in reversed(range(contract.overlap)):  # oldest frame first, as hop by hop
            sums[part : part + count] += parts[:, part]
        self._begun = sums[count:]
        return sums[:count].reshape(-1)

    def _one(self, parts: FloatArray) -> FloatArray:
        """The same sums for a single frame ``[overlap, hop]``, in place."""
        parts[:-1] += self._begun
        self._begun = parts[1:]
        finished: FloatArray = parts[0]
        return finished


def features(contract: StftContract, spectra: ComplexArray) -> FloatArray:
    """Network features ``[..., bins, 3]`` of spectra ``[..., frequencies]``.

    Channels are |Y|^c, and the real and imaginary parts scaled by |Y|^(c−1), c the compression.
    """
    kept = spectra[..., : contract.bins]
    real, imaginary = kept.real, kept.imag
    power = real * real
    power += imaginary * imaginary
    power += POWER_FLOOR
    gain = power ** (0.5 * (contract.compression - 1.0))
    channels = np.empty((*kept.shape, FEATURE_CHANNELS), dtype=np.float32)
    np.multiply(np.sqrt(power, out=power), gain, out=channels[..., 0])
    np.multiply(real, gain, out=channels[..., 1])
    np.multiply(imaginary, gain, out=channels[..., 2])
    return channels


def apply_mask(
    contract: StftContract, spectra: ComplexArray, mask: FloatArray, floor: float = 0.0
) -> ComplexArray:
    """Spectra ``[..., frequencies]`` times a mask: real ``[..., bins, 1]``, complex ``[..., bins,
    2]`` of real and imaginary part.

    ``floor`` is the linear attenuation limit: ``floor·noisy + (1 − floor)·masked``.
    """
    bins = contract.bins
    gain = mask[..., 0] if mask.shape[-1] == 1 else _complex(mask)
    if floor:
        gain = floor + (1.0 - floor) * gain
    result = spectra * np.complex64(floor)
    np.multiply(spectra[..., :bins], gain, out=result[..., :bins])
    return result


def _complex(pairs: FloatArray) -> ComplexArray:
    """``[..., 2]`` of real and imaginary part as complex numbers, without a copy where possible."""
    whole = np.ascontiguousarray(pairs, dtype=np.float32).view(np.complex64)
    return whole[..., 0]
