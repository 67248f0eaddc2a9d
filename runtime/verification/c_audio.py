"""Gate ``c-audio``: the audio path in C is the contract's, as numpy has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runtime.artefact import GateResult, Sidecar
from runtime.engines import EngineMissing
from runtime.engines.native_audio import NativeAudio
from runtime.generated_c import audio_source
from runtime.stepper import dequantize, quantize
from runtime.stft import StreamingAnalyser, StreamingSynthesiser, apply_mask, features
from runtime.verification.frames import noise
from runtime.verification.results import judged, unavailable
from targets.errors import InputError

NAME = "c-audio"
HOPS = 100
FLOOR = 0.25  # of the attenuation, so that there is sound whatever the network answers
LEAST_SNR = 100.0  # dB; single precision gives some 130
FLOAT_LIMIT = 1e-4  # of features, which are 1 or so
MOST_DIFFERING = 0.01  # of the stored features; 1e-5 of int8 lie between two steps, 1e-3 of int16


@dataclass(frozen=True)
class _Difference:
    """Of the same sound through C and numpy: stored features, and what the C's own masks make of
    the signal."""

    features: float  # the largest, in LSB where they are integers
    differing: int
    total: int
    snr: float  # dB


def has_audio(sources: Mapping[str, bytes]) -> bool:
    """Whether generated sources bring an audio path."""
    return any(audio_source(name.removesuffix(".c")) in sources for name in sources)


def c_audio(sources: Mapping[str, bytes], sidecar: Sidecar) -> GateResult:
    """Noise through the C of an artefact, compiled here, against numpy, hop by hop.

    A feature that lies between two steps may fall to either side; so the masks that follow are the
    C's own, and the signal that numpy makes with them is compared. Unavailable without a compiler.
    """
    integer = sidecar.inputs[0].dtype != "float32"
    unit = "LSB" if integer else ""
    most = 1.0 if integer else FLOAT_LIMIT
    limit = f"features ≤ {most:g} {unit}".strip() + f", signal ≥ {LEAST_SNR:g} dB"
    try:
        found = _compared(NativeAudio(sources, sidecar), sidecar)
    except EngineMissing as error:
        return unavailable(NAME, limit, f"{error.message} {error.hint}")
    except InputError as error:
        return judged(NAME, ["does not run"], "", limit, error.message)
    measured = f"features {found.features:.2g} {unit}".strip() + f", signal {found.snr:.0f} dB"
    passed = found.features <= most and found.snr >= LEAST_SNR
    if integer:
        passed = passed and found.differing <= MOST_DIFFERING * found.total
    return judged(
        NAME,
        [] if passed else [measured],
        measured,
        limit,
        f"{found.differing} of {found.total} stored features differ" if integer else "",
        likely="the audio path is of another contract, or was edited",
    )


def _compared(audio: NativeAudio, sidecar: Sidecar) -> _Difference:
    contract, spec = sidecar.contract, sidecar.inputs[0]
    analyser, synthesiser = StreamingAnalyser(contract), StreamingSynthesiser(contract)
    audio.limit_attenuation(FLOOR)
    worst, differing, total = 0.0, 0, 0
    signal = error = 0.0
    sound = noise(contract, HOPS * contract.hop / contract.sample_rate)
    for block in sound[: HOPS * contract.hop].reshape(HOPS, contract.hop):
        spectra = analyser.push_many(block)
        wanted = quantize(features(contract, spectra), spec)[0]
        out = audio.push(block)
        gap = np.abs(audio.features.astype(np.float64) - wanted)
        worst = max(worst, float(gap.max()))
        differing, total = differing + int(np.count_nonzero(gap)), total + gap.size
        mask = dequantize(audio.mask, sidecar.outputs[0]).reshape(1, contract.bins, -1)
        expected = synthesiser.push_many(apply_mask(contract, spectra, mask, FLOOR))
        signal += float(np.sum(expected.astype(np.float64) ** 2))
        error += float(np.sum((out.astype(np.float64) - expected) ** 2))
    snr = 10.0 * np.log10(signal / error) if error else np.inf
    return _Difference(worst, differing, total, float(snr))
