"""The streaming path: exact where the mask is one, the same however the signal is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.denoiser import (
    MultichannelDenoiser,
    StreamingDenoiser,
    attenuation_floor,
    denoise_signal,
)
from runtime.stft import (
    CONTRACTS,
    FloatArray,
    StftContract,
    analyse,
    apply_mask,
    features,
    synthesise,
)
from targets.errors import InputError
from tests.runtime.contracts import ANY
from tests.runtime.fakes import gain_engine, needs_tflm
from tests.runtime.tiny_models import Format, Kernel, tiny_sidecar, write_artefact

PRESET = st.sampled_from(list(CONTRACTS.values()))
ALL_BINS = StftContract(bins=257)  # so that the Nyquist bin passes too
ENGINES = [
    ("onnx-fp32", "onnxruntime"),
    ("tflite-fp32", "litert"),
    ("tflite-fp32", "litert-reference"),
    pytest.param("tflite-fp32", "tflm", marks=needs_tflm),
    ("tflite-int8", "litert"),
    ("tflite-int8", "litert-reference"),
    pytest.param("tflite-int8", "tflm", marks=needs_tflm),
]


def noise(samples: int, channels: int = 1, seed: int = 0) -> FloatArray:
    generator = np.random.default_rng(seed)
    return (0.1 * generator.standard_normal((samples, channels))).astype(np.float32)


def identity(
    channels: int,
    limit_db: float | None = None,
    gain: float = 1.0,
    contract: StftContract = ALL_BINS,
    mask_channels: int = 2,
) -> MultichannelDenoiser:
    contract = contract.model_copy(update={"bins": contract.frequencies})
    sidecar = tiny_sidecar(contract, "tflite-fp32", mask_channels=mask_channels)
    engine = gain_engine(contract.bins, gain, mask_channels)
    return MultichannelDenoiser(sidecar, engine, channels, limit_db)


def through(denoiser: MultichannelDenoiser, signal: FloatArray) -> FloatArray:
    return np.concatenate((denoiser.push(signal), denoiser.finish()))


def decibels(error: FloatArray, signal: FloatArray) -> float:
    return float(10 * np.log10((np.sum(error**2) + 1e-30) / np.sum(signal**2)))


@settings(deadline=None, max_examples=60)
@given(
    contract=ANY,
    samples=st.one_of(st.integers(1, 20), st.integers(1, 3000)),
    channels=st.integers(1, 3),
    mask_channels=st.integers(1, 2),
)
def test_an_identity_mask_gives_the_signal_back_in_place(
    contract: StftContract, samples: int, channels: int, mask_channels: int
) -> None:
    signal = noise(samples, channels)
    denoiser = identity(channels, contract=contract, mask_channels=mask_channels)
    clean = through(denoiser, signal)
    assert clean.shape == signal.shape
    assert decibels(clean - signal, signal) < -100.0


@settings(deadline=None, max_examples=20)
@given(contract=PRESET, cuts=st.lists(st.integers(0, 700), max_size=8))
def test_how_the_signal_is_cut_changes_nothing(contract: StftContract, cuts: list[int]) -> None:
    signal = noise(2000, 2)
    expected = through(identity(2, contract=contract), signal)
    denoiser = identity(2, contract=contract)
    parts, at = [], 0
    for cut in [*cuts, len(signal)]:
        parts.append(denoiser.push(signal[at : at + cut]))
        at += cut
    assert np.array_equal(np.concatenate([*parts, denoiser.finish()]), expected)


@pytest.mark.parametrize("name", CONTRACTS)
def test_live_output_trails_by_the_documented_delay(name: str) -> None:
    contract = CONTRACTS[name].model_copy(update={"bins": CONTRACTS[name].frequencies})
    engine = gain_engine(contract.bins)
    denoiser = StreamingDenoiser(tiny_sidecar(contract, "tflite-fp32"), engine)
    signal = noise(2560)[:, 0]
    out = np.concatenate([denoiser.push(hop) for hop in signal.reshape(-1, contract.hop)])
    delay = contract.output_delay
    assert decibels(out[delay:] - signal[:-delay], signal) < -100.0


@pytest.mark.parametrize("name", CONTRACTS)
def test_no_output_needs_input_beyond_the_algorithmic_delay(tmp_path: Path, name: str) -> None:
    """A loud sample is changed; the first output that differs lies as far back as is promised."""
    contract = CONTRACTS[name]
    weight = np.full((2, 2, 1, 3), 0.2, dtype=np.float32)
    artefact = write_artefact(tmp_path, "tflite-fp32", Kernel(weight=weight), contract)
    signal = noise(4096)[:, 0]
    clean = denoise_signal(artefact, None, signal)
    reach = []
    for at in (2047, 2048, 2048 + contract.hop // 2, 2047 + contract.hop):
        changed = signal.copy()
        changed[at] += 100.0
        differs = denoise_signal(artefact, None, changed) != clean
        reach.append(at - int(np.flatnonzero(differs)[0]))
    # The last sample of a hop reaches furthest back, but for the zero that begins a Hann window.
    assert max(reach) == contract.algorithmic_delay - 2
    assert min(reach) >= contract.output_delay - 1


def test_reset_forgets_the_past() -> None:
    denoiser = StreamingDenoiser(tiny_sidecar(ALL_BINS, "tflite-fp32"), gain_engine(257))
    hops = noise(1024)[:, 0].reshape(4, 256)
    first = [denoiser.push(hop) for hop in hops]
    denoiser.reset()
    assert np.array_equal(first, [denoiser.push(hop) for hop in hops])


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
@pytest.mark.parametrize("mask_channels", [1, 2])
def test_the_attenuation_limit_keeps_that_much_of_the_noise(
    contract: StftContract, mask_channels: int
) -> None:
    signal = noise(4096)

    def muted(limit_db: float | None) -> FloatArray:
        return through(identity(1, limit_db, 0.0, contract, mask_channels), signal)

    assert np.abs(muted(12.0) - 10 ** (-12 / 20) * signal).max() < 1e-6
    assert decibels(muted(0.0) - signal, signal) < -100.0
    assert not muted(None).any()


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_a_negative_limit_is_refused(limit: float) -> None:
    with pytest.raises(InputError, match="must not be negative"):
        attenuation_floor(limit)


def test_a_model_that_returns_nan_is_named() -> None:
    sidecar = tiny_sidecar(ALL_BINS, "tflite-fp32")
    denoiser = StreamingDenoiser(sidecar, gain_engine(257, float("nan")))
    with pytest.raises(InputError, match="not finite"):
        denoiser.push(noise(256)[:, 0])


def test_input_far_beyond_full_scale_is_named(recwarn: pytest.WarningsRecorder) -> None:
    denoiser = StreamingDenoiser(tiny_sidecar(ALL_BINS, "tflite-fp32"), gain_engine(257))
    with pytest.raises(InputError, match="not finite"):
        denoiser.push(np.full(256, 3e38, dtype=np.float32))
    assert not recwarn


def test_channels_do_not_hear_each_other(tmp_path: Path) -> None:
    weight = np.zeros((2, 2, 1, 3), dtype=np.float32)
    weight[0, :, 0, 0] = (0.3, -0.2)
    artefact = write_artefact(tmp_path, "tflite-fp32", Kernel(weight=weight))
    from runtime.engines import open_engine

    engine = open_engine(artefact)
    signal = noise(3000, 3)
    together = through(MultichannelDenoiser(artefact.sidecar, engine, 3), signal)
    for channel in range(3):
        alone = denoise_signal(artefact, None, signal[:, channel])
        assert np.array_equal(together[:, channel], alone)


@pytest.mark.parametrize("name", ["phone", "hearing-aid"])
@pytest.mark.parametrize(("target", "engine"), ENGINES)
def test_every_engine_computes_the_model(
    tmp_path: Path, target: Format, engine: str, name: str
) -> None:
    """Against the model's formula on whole spectra, memory included."""
    generator = np.random.default_rng(1)
    weight = generator.uniform(-0.2, 0.2, (2, 2, 1, 3)).astype(np.float32)
    kernel = Kernel(bias=(0.4, 0.1), weight=weight)
    contract = CONTRACTS[name]
    artefact = write_artefact(tmp_path, target, kernel, contract)
    signal = noise(16_000)[:, 0]
    spectra = analyse(contract, signal)
    now = features(contract, spectra)
    before = np.concatenate((np.zeros_like(now[:1]), now[:-1]))
    both = np.stack((before, now), axis=1)  # [frames, 2, bins, 3]
    mask = np.einsum("ftbi,oti->fbo", both, weight[:, :, 0]) + kernel.bias
    if target == "tflite-int8":
        mask = np.clip(mask, -128 / 127, 1.0)
    expected = synthesise(contract, apply_mask(contract, spectra, mask.astype(np.float32)), 16_000)
    clean = denoise_signal(artefact, engine, signal)
    assert decibels(clean - expected, expected) < (-28.0 if target == "tflite-int8" else -100.0)


@needs_tflm
def test_tflm_equals_the_reference_kernels_bit_for_bit(tmp_path: Path) -> None:
    weight = np.random.default_rng(2).uniform(-0.2, 0.2, (2, 2, 1, 3)).astype(np.float32)
    artefact = write_artefact(tmp_path, "tflite-int8", Kernel(weight=weight))
    signal = noise(8000)[:, 0]
    reference = denoise_signal(artefact, "litert-reference", signal)
    assert np.array_equal(denoise_signal(artefact, "tflm", signal), reference)
