"""The embedded corpus: small, whole, synthetic and with splits that share nothing."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import soundfile

from distill.corpus import SAMPLE_RATE, SPLITS, Split, open_corpus
from distill.demo_corpus import HERE
from distill.mixing import Mixer, MixSettings

LIMIT_BYTES = 4_000_000


def test_it_is_the_default_and_says_that_it_is_synthetic() -> None:
    corpus = open_corpus(None)
    assert corpus.synthetic
    assert "synthetic" in corpus.describe()
    assert corpus.fingerprint == open_corpus("demo").fingerprint
    assert corpus.held_out == "test"


def test_it_fits() -> None:
    files = [path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < LIMIT_BYTES


def test_voices_noises_and_sentences_stay_in_their_split() -> None:
    corpus = open_corpus(None)
    for clips in (corpus.speech, corpus.noise):
        groups = [{clip.group for clip in clips(split)} for split in SPLITS]
        assert all(groups)
        assert sum(map(len, groups)) == len(set.union(*groups))
    listing = json.loads((HERE / "manifest.json").read_text())
    text = (HERE / "sentences.txt").read_text().splitlines()
    assert len(text) == len(set(text))  # a sentence belongs to one split only
    names = {(voice["engine"], voice["name"]) for voice in listing["speech"]}
    assert len(names) == len(listing["speech"])  # a voice is there once


def test_the_listing_is_what_lies_there() -> None:
    corpus = open_corpus(None)
    speech = [clip for split in SPLITS for clip in corpus.speech(split)]
    assert {clip.path for clip in speech} == set((HERE / "speech").iterdir())
    for clip in speech:
        info = soundfile.info(clip.path)
        assert (info.samplerate, info.channels) == (SAMPLE_RATE, 1)
        assert info.frames / SAMPLE_RATE == pytest.approx(clip.duration, abs=0.001)
    assert sum(clip.duration for clip in speech) > 12 * 60


def test_every_kind_of_noise_is_in_every_split_and_babble_is_of_its_voices() -> None:
    corpus = open_corpus(None)
    kinds = {"coloured", "babble", "hum", "machine", "impulsive", "wind"}
    for split in SPLITS:
        assert {clip.type for clip in corpus.noise(split)} == kinds
        voices = {clip.name for clip in corpus.speech(split)}
        babble = next(clip for clip in corpus.noise(split) if clip.type == "babble")
        assert isinstance(babble.synthesis, partial)
        assert {clip.name for clip in babble.synthesis.args[1]} == voices


@pytest.mark.parametrize("split", SPLITS)
def test_it_mixes_the_same_twice(split: Split) -> None:
    items = [
        Mixer(open_corpus(None), split, MixSettings(seconds=1.0), 0).item(index)
        for _ in range(2)
        for index in range(3)
    ]
    for first, again in zip(items[:3], items[3:], strict=True):
        assert np.array_equal(first.noisy, again.noisy)


def test_licences_are_recorded() -> None:
    corpus = open_corpus(None)
    assert "LicenseRef-CMU-Flite" in corpus.licences
    notice = (HERE / "NOTICE.md").read_text()
    assert "LicenseRef-CMU-Flite" in notice
    assert "espeak-ng 1.51" in notice
