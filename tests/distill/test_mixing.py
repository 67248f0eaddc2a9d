"""Mixtures: exact repeats, pools, SNR and level by independent measurement, babble."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from distill.corpus import SAMPLE_RATE, Clip, Corpus, FloatArray, Split, open_corpus
from distill.mixing import Mixer, MixSettings, evaluation_items
from targets.errors import InputError
from tests.distill.recordings import made_clip, made_corpus, measured_snr

CORPUS = made_corpus()
NO_EXTRAS = {"babble_probability": 0.0, "second_noise_probability": 0.0}
# Items 0 … 3 of the demo corpus, seed 0, as they were when the first students were trained on
# them: names, SNR in dB, RMS, and every 8000th sample from 3000 on of the noisy and clean signals.
GOLDEN = (
    (
        ("speech/espeak-ng-en-us-denis.ogg", "noise/train-babble-00-v1", 14.571593, 0.0930114),
        (0.003975, 0.033223, 0.063866, -0.075638),
        (0.0010775, 0.049276, 0.055363, -0.084893),
    ),
    (
        (
            "speech/espeak-ng-en-us-andrea.ogg",
            "noise/train-coloured-09-v1 + noise/train-coloured-04-v1",
            1.042866,
            0.0068689,
        ),
        (-0.0022349, -0.0045726, -0.0076847, -0.0023127),
        (-2.1225e-05, -3.5022e-05, -0.0090643, 0.0),
    ),
    (
        ("speech/espeak-ng-en-gb-grandma.ogg", "noise/train-impulsive-11-v1", 4.968272, 0.058766),
        (0.023251, -0.014101, 0.0028792, -0.00041397),
        (0.02784, -0.016286, 0.0040266, 0.00073336),
    ),
    (
        (
            "speech/espeak-ng-en-gb-x-gbcwmd-ed.ogg",
            "noise/train-machine-06-v1",
            13.413143,
            0.1502284,
        ),
        (0.085783, 0.18578, -0.06751, -0.024762),
        (0.077261, 0.21027, -0.067389, 0.0031845),
    ),
)


def test_items_repeat_exactly_in_any_order_and_from_a_cold_cache() -> None:
    settings = MixSettings()
    first = [Mixer(CORPUS, "train", settings, 7).item(i) for i in range(6)]
    again = Mixer(made_corpus(), "train", settings, 7)
    for index in (5, 2, 0, 3, 1, 4):
        item = again.item(index)
        assert np.array_equal(item.noisy, first[index].noisy)
        assert np.array_equal(item.clean, first[index].clean)
        assert (item.snr_db, item.speech, item.noise) == (
            first[index].snr_db,
            first[index].speech,
            first[index].noise,
        )


def test_seed_split_and_index_each_change_the_item() -> None:
    settings = MixSettings()
    base = Mixer(CORPUS, "train", settings, 7).item(0).noisy
    assert not np.array_equal(base, Mixer(CORPUS, "train", settings, 8).item(0).noisy)
    assert not np.array_equal(base, Mixer(CORPUS, "valid", settings, 7).item(0).noisy)
    assert not np.array_equal(base, Mixer(CORPUS, "train", settings, 7).item(1).noisy)


def test_a_batch_is_its_items() -> None:
    mixer = Mixer(CORPUS, "train", MixSettings(seconds=0.5), 3)
    noisy, clean = mixer.batch(2, 4)
    assert noisy.shape == clean.shape == (4, 8000)
    assert noisy.dtype == clean.dtype == np.float32
    for row in range(4):
        assert np.array_equal(noisy[row], mixer.item(8 + row).noisy)
        assert np.array_equal(clean[row], mixer.item(8 + row).clean)


@pytest.mark.parametrize("index", range(4))
def test_default_items_are_the_ones_they_always_were(index: int) -> None:
    item = Mixer(open_corpus("demo"), "train", MixSettings(), 0).item(index)
    (speech, noise, snr_db, level), noisy, clean = GOLDEN[index]
    assert (item.speech, item.noise) == (speech, noise)
    assert item.snr_db == pytest.approx(snr_db, abs=1e-5)
    assert np.sqrt(np.mean(item.noisy.astype(np.float64) ** 2)) == pytest.approx(level, rel=1e-4)
    assert item.noisy[3000::8000] == pytest.approx(noisy, rel=1e-3, abs=1e-7)
    assert item.clean[3000::8000] == pytest.approx(clean, rel=1e-3, abs=1e-7)


def test_a_pool_holds_the_same_items_for_every_seed_in_another_order_each_epoch() -> None:
    settings = MixSettings(seconds=0.25, pool=6)
    epochs = [
        [Mixer(CORPUS, "train", settings, seed).rows(first, 6)[0] for first in (0, 6)]
        for seed in (0, 1)
    ]
    orders = [rows.tobytes() for seed in epochs for rows in seed]
    assert len(set(orders)) == 4
    contents = [{row.tobytes() for row in rows} for seed in epochs for rows in seed]
    assert len(contents[0]) == 6
    assert all(content == contents[0] for content in contents)
    valid = Mixer(CORPUS, "valid", settings, 0).rows(0, 6)[0]
    assert contents[0].isdisjoint(row.tobytes() for row in valid)


def test_the_snr_is_what_it_says() -> None:
    mixer = Mixer(CORPUS, "train", MixSettings(), 0)
    snrs = []
    for index in range(30):
        item = mixer.item(index)
        assert measured_snr(item.clean, item.noisy) == pytest.approx(item.snr_db, abs=0.1)
        snrs.append(item.snr_db)
    assert min(snrs) < -3.0
    assert max(snrs) > 13.0


def test_the_level_is_in_range_and_peaks_never_exceed_full_scale() -> None:
    mixer = Mixer(CORPUS, "train", MixSettings(level_dbfs=(-36.0, -18.0)), 1)
    for index in range(30):
        noisy = mixer.item(index).noisy
        level = 10.0 * np.log10(np.mean(noisy.astype(np.float64) ** 2))
        assert -36.1 < level < -17.9
    loud = Mixer(CORPUS, "train", MixSettings(level_dbfs=(0.0, 0.0)), 1)
    for index in range(10):
        item = loud.item(index)
        assert np.max(np.abs(item.noisy)) <= 1.0
        assert np.max(np.abs(item.clean)) <= 1.0
        assert measured_snr(item.clean, item.noisy) == pytest.approx(item.snr_db, abs=0.1)


@pytest.mark.parametrize("seconds", [0.25, 2.0, 7.5])
def test_any_length_is_filled(seconds: float) -> None:
    """Noise reaches every part of the item, also where the clips are shorter than it."""
    mixer = Mixer(CORPUS, "train", MixSettings(seconds=seconds, **NO_EXTRAS), 2)
    for index in range(5):
        item = mixer.item(index)
        assert len(item.noisy) == round(seconds * SAMPLE_RATE)
        tenths = np.array_split(item.noisy - item.clean, 10)
        powers = [float(np.mean(part**2)) for part in tenths]
        assert min(powers) > 0.5 * max(powers)


def test_items_come_from_their_split_only() -> None:
    mixer = Mixer(CORPUS, "valid", MixSettings(seconds=0.5), 0)
    for index in range(20):
        item = mixer.item(index)
        assert item.speech.startswith("speech/valid/")
        assert item.noise == "babble" or all(
            name.startswith("noise/valid/") for name in item.noise.split(" + ")
        )


def test_babble_speaks_with_the_voices_of_its_split_and_never_the_items_own() -> None:
    """Each speaker says one tone of its own, so that a spectrum tells who speaks."""

    def clip(split: Split, number: int) -> Clip:
        at = 200 + 400 * number + (200 if split == "valid" else 0)

        def synthesis() -> FloatArray:
            time = np.arange(16_000) / SAMPLE_RATE
            return (0.1 * np.sin(2.0 * np.pi * at * time)).astype(np.float32)

        name = f"{at} {split}"
        return Clip(name, "speech", name, "speech", 1.0, split, synthesis=synthesis)

    noises = [c for c in CORPUS.clips if c.kind == "noise"]
    clips = [clip(split, number) for split in ("train", "valid") for number in range(8)]
    corpus = Corpus("tones", [*noises, *clips])
    chosen = MixSettings(
        seconds=1.0, babble_probability=1.0, pause_probability=0.0, snr_db=(0.0, 0.0)
    )
    for index in range(12):
        item = Mixer(corpus, "train", chosen, 0).item(index)
        spectrum = np.abs(np.fft.rfft(item.noisy - item.clean))
        voices = set(np.flatnonzero(spectrum > 0.05 * spectrum.max()).tolist())
        own = int(item.speech.split()[0])
        assert own not in voices
        assert voices <= {200 + 400 * number for number in range(8)}
        assert 3 <= len(voices) <= 6


def test_babble_is_made_of_other_speakers_and_left_out_where_there_are_none() -> None:
    always = MixSettings(seconds=1.0, babble_probability=1.0)
    items = [Mixer(CORPUS, "train", always, 0).item(i) for i in range(5)]
    assert {item.noise for item in items} == {"babble"}
    lonely = Corpus("two", [c for c in CORPUS.clips if c.name[-1] in "01"])
    assert Mixer(lonely, "train", always, 0).item(0).noise != "babble"


def test_silent_recordings_are_refused() -> None:
    silent = Corpus(
        "silent",
        [
            made_clip("noise", 0, "train", 1.0, "a"),
            made_clip("speech", 0, "train", 0.0, "speech"),
        ],
    )
    with pytest.raises(InputError, match="silent"):
        Mixer(silent, "train", MixSettings(), 0).item(0)


def test_an_empty_split_says_what_is_lacking() -> None:
    speech_only = Corpus("c", [c for c in CORPUS.clips if c.kind == "speech"])
    with pytest.raises(InputError, match="test split of c has no noise"):
        Mixer(speech_only, "test", MixSettings(), 0)


def test_wrong_settings_are_refused() -> None:
    for wrong in (
        {"snr_db": (3.0, -3.0)},
        {"seconds": 0.0},
        {"reverb_probability": 0.5},
        {"colour": "red"},
    ):
        with pytest.raises(ValidationError):
            MixSettings.model_validate(wrong)


def test_evaluation_items_are_the_same_every_time() -> None:
    first = evaluation_items(CORPUS, "test", 3, 1.0, 5)
    again = evaluation_items(made_corpus(), "test", 3, 1.0, 5)
    assert len(first) == 3
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(first, again, strict=True))
