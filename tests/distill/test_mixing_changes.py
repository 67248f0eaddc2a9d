"""What rooms, filters, clipping and gaps make of a mixture, checked by their physics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from distill import rooms as rooms_module
from distill.colouring import Equalizer, Microphone, equalizer, microphone
from distill.corpus import FloatArray
from distill.mixing import Mixer, MixSettings, Mixture, gap
from distill.rooms import Rooms
from targets.errors import InputError
from tests.distill.recordings import made_corpus, measured_snr

CORPUS = made_corpus()
NO_EXTRAS = {"babble_probability": 0.0, "second_noise_probability": 0.0}
EVERYTHING: dict[str, Any] = {
    "gap_probability": 0.5,
    "reverb_probability": 0.7,
    "equalizer": {"probability": 0.7},
    "microphone": {"probability": 0.7},
    "clipping": {"probability": 0.5},
}


def room(folder: Path) -> Path:
    """Direct sound at tap 30, an early echo 10 ms later, a late one 100 ms later."""
    response = np.zeros((10, 2, 4000), dtype=np.float32)
    response[:, :, 30], response[:, :, 190], response[:, :, 1630] = 1.0, 0.5, 0.4
    folder.mkdir()
    np.save(folder / "room.npy", response)
    return folder


def test_a_room_keeps_early_sound_in_the_target_and_late_sound_out(tmp_path: Path) -> None:
    settings = MixSettings(
        seconds=1.0,
        snr_db=(90.0, 90.0),
        reverb_probability=1.0,
        rir_folder=room(tmp_path / "rooms"),
        **NO_EXTRAS,
    )
    item = Mixer(CORPUS, "train", settings, 0).item(0)
    late = (item.noisy - item.clean).astype(np.float64)
    # What remains is the late echo of the dry speech; the target is dry speech + early echo.
    dry = np.zeros(len(late))
    for at in range(len(late)):
        dry[at] = item.clean[at] - (0.5 * dry[at - 160] if at >= 160 else 0.0)
    dry = np.roll(dry, -8)  # responses are kept from 8 samples before the direct sound
    expected = np.zeros(len(late))
    expected[1608:] = 0.4 * dry[: len(late) - 1608]
    assert np.sqrt(np.mean((late - expected) ** 2)) < 0.02 * np.sqrt(np.mean(late**2))


def plain(**changed: Any) -> Mixture:
    """Item 0 with one noise and no babble, changed as given."""
    return Mixer(CORPUS, "train", MixSettings(**NO_EXTRAS, **changed), 0).item(0)


def scaled(signal: FloatArray, like: FloatArray) -> FloatArray:
    """By the factor that brings it closest."""
    return signal * np.float32(np.dot(signal, like) / np.dot(signal, signal))


def error_db(signal: FloatArray, expected: FloatArray) -> float:
    difference = (scaled(signal, expected) - expected).astype(np.float64)
    return 10.0 * float(np.log10(np.sum(difference**2) / np.sum(expected.astype(np.float64) ** 2)))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> MixSettings:
    folder = room(tmp_path_factory.mktemp("rirs") / "rooms")
    return MixSettings(seconds=0.5, rir_folder=folder, **EVERYTHING)


@settings(max_examples=40, deadline=None)
@given(index=st.integers(0, 2**40), seed=st.integers(0, 2**32))
def test_with_everything_on_items_repeat_and_stay_in_range(
    everything: MixSettings, index: int, seed: int
) -> None:
    mixer = Mixer(CORPUS, "train", everything, seed)
    item, again = mixer.item(index), Mixer(CORPUS, "train", everything, seed).item(index)
    assert np.array_equal(item.noisy, again.noisy)
    assert np.array_equal(item.clean, again.clean)
    assert item.noisy.dtype == item.clean.dtype == np.float32
    for signal in (item.noisy, item.clean):
        assert len(signal) == 8000
        assert np.isfinite(signal).all()
        assert 0.0 < np.abs(signal).max() < 1.0
    level = 10.0 * np.log10(np.mean(item.noisy.astype(np.float64) ** 2))
    assert -60.0 < level < -13.9
    assert -6.0 <= item.snr_db <= 16.0


def test_with_everything_on_an_item_does_not_depend_on_its_batch(everything: MixSettings) -> None:
    mixer = Mixer(CORPUS, "train", everything, 3)
    together = mixer.rows(5, 6)[0]
    for row, index in enumerate(range(5, 11)):
        assert np.array_equal(mixer.rows(index, 1)[0][0], together[row])


@pytest.mark.parametrize(
    "changed",
    [
        {"equalizer": {"probability": 1.0}},
        {"microphone": {"probability": 1.0}},
        {"clipping": {"probability": 1.0}},
        {"gap_probability": 1.0},
    ],
)
def test_each_change_leaves_the_rest_of_an_item_as_it_was(changed: dict[str, Any]) -> None:
    before, after = plain(), plain(**changed)
    assert not np.array_equal(before.noisy, after.noisy)
    assert (before.speech, before.noise, before.snr_db) == (after.speech, after.noise, after.snr_db)


def test_the_microphone_filters_mixture_and_target_alike() -> None:
    before = plain(snr_db=(5.0, 5.0))
    after = plain(snr_db=(5.0, 5.0), microphone={"probability": 1.0})
    sequence = np.random.SeedSequence([0, 0, 0], spawn_key=(3,))
    rng = np.random.Generator(np.random.PCG64(sequence))
    rng.random()  # whether to
    sections = microphone(Microphone(), rng)
    assert error_db(after.clean, sosfilt(sections, before.clean).astype(np.float32)) < -70.0
    noise = (before.noisy - before.clean).astype(np.float32)
    assert error_db(after.noisy - after.clean, sosfilt(sections, noise).astype(np.float32)) < -70.0
    assert measured_snr(after.clean, after.noisy) == pytest.approx(5.0, abs=0.1)


def test_equalizers_of_speech_and_noise_differ_and_the_target_has_that_of_the_speech() -> None:
    before = plain(snr_db=(5.0, 5.0))
    after = plain(snr_db=(5.0, 5.0), equalizer={"probability": 1.0})
    sequence = np.random.SeedSequence([0, 0, 0], spawn_key=(2,))
    rng = np.random.Generator(np.random.PCG64(sequence))
    noise = (before.noisy - before.clean).astype(np.float32)
    for was, became in ((before.clean, after.clean), (noise, after.noisy - after.clean)):
        rng.random()  # whether to
        sections = equalizer(Equalizer(), rng)
        assert error_db(became, sosfilt(sections, was).astype(np.float32)) < -70.0
        assert error_db(became, was) > -40.0
    assert measured_snr(after.clean, after.noisy) == pytest.approx(5.0, abs=0.1)


def test_clipping_touches_the_noisy_signal_only_and_keeps_levels_aligned() -> None:
    before = plain(level_dbfs=(-30.0, -30.0))
    depth = {"probability": 1.0, "depth_db": (6.0, 6.0)}
    after = plain(level_dbfs=(-30.0, -30.0), clipping=depth)
    limit = np.abs(after.noisy).max()
    cut = np.abs(after.noisy) >= limit * (1.0 - 1e-6)
    assert 2 <= cut.sum() < 0.1 * len(cut)
    gain = float(np.dot(after.clean, before.clean) / np.dot(before.clean, before.clean))
    assert np.allclose(after.clean, before.clean * gain, atol=1e-6)
    assert np.allclose(after.noisy[~cut], before.noisy[~cut] * gain, atol=1e-6)
    assert np.abs(before.noisy).max() * gain / limit == pytest.approx(10.0**0.3, rel=1e-5)
    level = 10.0 * np.log10(np.mean(after.noisy.astype(np.float64) ** 2))
    assert level == pytest.approx(-30.0, abs=0.01)
    assert np.abs(after.clean).max() > limit  # the target goes on where the noisy signal stops


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 2**32), st.integers(400, 40_000))
def test_a_gap_is_one_stretch_of_silence_with_soft_edges(seed: int, samples: int) -> None:
    gate = gap(samples, np.random.default_rng(seed))
    silent = gate == 0.0
    assert 0.09 < silent.mean() <= 0.5 + 320 / samples
    assert np.count_nonzero(np.diff(silent.astype(int))) <= 2
    assert np.abs(np.diff(gate)).max() < 0.01
    assert gate.min() == 0.0
    assert gate.max() <= 1.0


def test_a_gap_silences_the_noise_and_not_the_speech() -> None:
    after = plain(gap_probability=1.0)
    noise = after.noisy - after.clean
    assert np.mean(np.abs(noise) < 1e-7) > 0.09
    assert error_db(after.clean, plain().clean) < -120.0
    assert measured_snr(after.clean, after.noisy) == pytest.approx(after.snr_db, abs=0.1)


def test_simulated_and_given_rooms_are_both_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flat(settings: Rooms, number: int) -> tuple[FloatArray, ...]:
        return tuple(np.eye(1, 20, 8, dtype=np.float32)[0] for _ in range(settings.places))

    monkeypatch.setattr(rooms_module, "simulate", flat)
    both = MixSettings(
        seconds=0.5,
        snr_db=(60.0, 60.0),
        reverb_probability=1.0,
        rir_folder=room(tmp_path / "rirs"),
        rooms=Rooms(count=2, cache=tmp_path),
        **NO_EXTRAS,
    )
    mixer = Mixer(CORPUS, "train", both, 0)
    late = [error_db(mixer.item(i).noisy, mixer.item(i).clean) > -40.0 for i in range(20)]
    assert 4 < sum(late) < 16  # only the given room has late reflections


def test_a_muted_noise_without_late_reflections_leaves_the_target(tmp_path: Path) -> None:
    folder = tmp_path / "rooms"
    folder.mkdir()
    response = np.zeros((3, 500), dtype=np.float32)
    response[:, 30], response[:, 190] = 1.0, 0.5
    np.save(folder / "dry.npy", response)
    item = plain(snr_db=(120.0, 120.0), reverb_probability=1.0, rir_folder=folder)
    assert error_db(item.noisy, item.clean) < -100.0


def test_noise_is_heard_through_the_room_too(tmp_path: Path) -> None:
    """Clicks of noise come back at the room's delays, wherever the speech is."""
    folder = room(tmp_path / "rooms")
    dry, wet = (
        plain(snr_db=(-60.0, -60.0), **extra)
        for extra in ({}, {"reverb_probability": 1.0, "rir_folder": folder})
    )
    response = np.zeros(1610, dtype=np.float32)
    response[[8, 168, 1608]] = 1.0, 0.5, 0.4
    expected = np.convolve(dry.noisy, response)[: len(dry.noisy)].astype(np.float32)
    assert error_db(wet.noisy, expected) < -40.0


def test_without_responses_a_room_is_bad_input(tmp_path: Path) -> None:
    for folder, complaint in ((tmp_path, "No room responses"), (tmp_path / "no", "no folder")):
        settings = MixSettings(reverb_probability=1.0, rir_folder=folder)
        with pytest.raises(InputError, match=complaint):
            Mixer(CORPUS, "train", settings, 0)
