"""The STFT contract: its windows, its delays measured on signals, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from runtime import stft
from runtime.stft import CONTRACTS, ContractField, StftContract, resolve_contract
from targets.errors import InputError
from tests.runtime.contracts import ANY

NAMED = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
# What a sidecar or checkpoint of before there was a choice holds.
OLD = (
    '{"sample_rate": 16000, "window": "sqrt_hann_periodic", "window_length": 512, "hop": 256, '
    '"fft_size": 512, "scale": 0.0625, "compression": 0.3, "bins": 256, "padding": "zeros"}'
)


def through(contract: StftContract, signal: np.ndarray) -> np.ndarray:
    """What comes out hop by hop, on the clock of the input: no delay removed."""
    analyser, synthesiser = stft.StreamingAnalyser(contract), stft.StreamingSynthesiser(contract)
    hops = signal.astype(np.float32).reshape(-1, contract.hop)
    return np.concatenate([synthesiser.push(analyser.push(hop)) for hop in hops])


@given(contract=ANY)
def test_overlapping_products_of_the_windows_add_up_to_one(contract: StftContract) -> None:
    analysis, synthesis = contract.analysis_window(), contract.synthesis_window()
    assert analysis.shape == (contract.window_length,)
    product = analysis[-contract.synthesis_length :].astype(float) * synthesis
    sums = product.reshape(contract.overlap, contract.hop).sum(axis=0)
    assert np.abs(sums - 1.0).max() < 1e-6
    k = np.arange(contract.synthesis_length) / contract.synthesis_length
    hann = (1.0 - np.cos(2.0 * math.pi * k)) / contract.overlap
    assert np.abs(product - hann).max() < 1e-6


@given(contract=ANY)
def test_white_noise_keeps_its_level_in_the_spectra(contract: StftContract) -> None:
    power = float(np.sum(contract.analysis_window().astype(float) ** 2))
    assert contract.scale**2 * power == pytest.approx(1.0, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(contract=ANY, data=st.data())
def test_a_changed_input_sample_changes_no_output_before_its_delay(
    contract: StftContract, data: st.DataObject
) -> None:
    """Output sample m depends on input up to m + algorithmic_delay − 1 and on none after it."""
    hop, length = contract.hop, contract.window_length + 6 * contract.synthesis_length
    samples = -(-length // hop) * hop
    changed = data.draw(st.integers(0, samples - 1))
    signal = np.random.default_rng(0).normal(0, 0.1, samples)
    other = signal.copy()
    other[changed] += 1.0
    differs = np.flatnonzero(masked(contract, signal) != masked(contract, other))
    earliest = changed - (contract.algorithmic_delay - 1)
    assert (differs >= earliest).all()


def masked(contract: StftContract, signal: np.ndarray) -> np.ndarray:
    """A signal through a gain that depends on all of each frame; delay removed."""
    spectra = stft.analyse(contract, signal.astype(np.float32))
    loudness = np.abs(spectra).sum(axis=1, keepdims=True)
    return stft.synthesise(contract, spectra * loudness, len(signal))


@NAMED
def test_the_algorithmic_delay_is_reached_and_not_exceeded(contract: StftContract) -> None:
    """For each input sample, how much earlier is the first output sample that it changes?"""
    base = contract.window_length
    samples = base + 4 * contract.synthesis_length
    signal = np.random.default_rng(1).normal(0, 0.1, samples)
    reference = masked(contract, signal)
    reach = []
    for offset in range(0, contract.hop, 7 if contract.hop > 64 else 1):
        # From the end of a hop backwards: the last sample of a frame reaches back furthest.
        at = base + contract.synthesis_length - 1 - offset
        other = signal.copy()
        other[at] += 1e3  # it is heard through the very edge of both windows
        first = np.flatnonzero(masked(contract, other) != reference)[0]
        reach.append(at - int(first))
    # One less than the bound, for a periodic Hann window begins with a zero.
    assert max(reach) == contract.algorithmic_delay - 2


@NAMED
def test_an_impulse_comes_out_hop_by_hop_after_the_output_delay(contract: StftContract) -> None:
    signal = np.zeros(8 * contract.window_length)
    at = 3 * contract.window_length + 5
    signal[at] = 1.0
    out = through(contract, signal)
    assert int(np.argmax(np.abs(out))) == at + contract.output_delay
    out[at + contract.output_delay] -= 1.0
    assert np.abs(out).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "algorithmic", "trailing", "steps", "bins"),
    [("phone", 32, 16, 62.5, 256), ("mcu", 32, 24, 125, 256), ("hearing-aid", 8, 4, 250, 128)],
)
def test_the_presets_have_the_delays_they_are_named_for(
    name: str, algorithmic: float, trailing: float, steps: float, bins: int
) -> None:
    contract = CONTRACTS[name]
    assert contract.milliseconds(contract.algorithmic_delay) == algorithmic
    assert contract.milliseconds(contract.output_delay) == trailing
    assert (contract.steps_per_second, contract.bins) == (steps, bins)
    assert bins % 32 == 0


def test_the_hearing_aid_hears_its_present_hop_through_a_short_edge() -> None:
    analysis = CONTRACTS["hearing-aid"].analysis_window()
    assert int(np.argmax(analysis)) == 192
    assert (np.diff(analysis[:193]) > 0).all()
    assert (np.diff(analysis[192:]) < 0).all()
    assert np.abs(CONTRACTS["hearing-aid"].synthesis_window()).max() < 1.5


def test_a_contract_written_before_there_was_a_choice_is_the_default() -> None:
    assert StftContract.model_validate_json(OLD) == StftContract() == CONTRACTS["phone"]


@NAMED
def test_a_contract_survives_the_way_through_json(contract: StftContract) -> None:
    assert StftContract.model_validate_json(contract.model_dump_json()) == contract
    assert resolve_contract(contract.model_dump()) == contract


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"hop": 100}, "synthesis window of 512 samples .* whole hops of 100"),
        ({"hop": 512}, "two or more whole hops"),
        ({"window": "asymmetric_sqrt_hann", "hop": 5, "synthesis_length": 15}, "must be even"),
        ({"synthesis_length": 1024}, "longer than window_length 512"),
        ({"hop": 64, "synthesis_length": 128}, "must equal window_length 512, or window be"),
        ({"fft_size": 256}, "shorter than window_length 512"),
        ({"bins": 258}, r"bins must lie .* = 257"),
        ({"hop": 0}, "hop: Input should be greater than 0"),
        ({"window": "hann"}, "window: Input should be"),
        ({"hopp": 256}, "hopp: Extra inputs"),
        ({"scale": 0}, "scale"),
        ({"window_length": 1 << 20}, "window_length"),
    ],
)
def test_what_cannot_reconstruct_is_refused_in_words(given_: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        resolve_contract(given_)
    assert "phone, mcu, hearing-aid" in caught.value.hint


def test_an_unknown_name_lists_the_presets() -> None:
    with pytest.raises(InputError, match=r"no contract 'hearing_aid'; did you mean 'hearing-aid'"):
        resolve_contract("hearing_aid")


class Recipe(BaseModel):
    contract: ContractField = CONTRACTS["phone"]


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_field_takes_a_name_a_mapping_or_a_contract(name: str) -> None:
    contract = CONTRACTS[name]
    for value in (name, contract, contract.model_dump()):
        assert Recipe.model_validate({"contract": value}).contract == contract


def test_a_field_says_what_is_wrong_and_where() -> None:
    with pytest.raises(ValidationError, match="presets: phone, mcu, hearing-aid"):
        Recipe.model_validate({"contract": "tablet"})
    with pytest.raises(ValidationError, match="whole hops of 100") as caught:
        Recipe.model_validate({"contract": {"hop": 100}})
    assert caught.value.errors()[0]["loc"] == ("contract",)
