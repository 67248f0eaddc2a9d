"""Corpora: splits, any rate and number of channels, the bounded cache, bad input."""

from __future__ import annotations

import csv
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.corpus import (
    BLOCK_SECONDS,
    SAMPLE_RATE,
    SPLITS,
    Clip,
    Corpus,
    open_corpus,
    split_groups,
)
from distill.prepared import COLUMNS
from targets.errors import InputError
from tests.distill.recordings import bursts, made_corpus, tone, write


def file_clip(path: Path, seconds: float) -> Clip:
    return Clip(path.name, "speech", "someone", "speech", seconds, "train", path=path)


@settings(max_examples=200, deadline=None)
@given(
    groups=st.lists(st.text(max_size=8), min_size=1, max_size=60),
    valid=st.floats(0.0, 0.4),
    test=st.floats(0.0, 0.4),
    order=st.randoms(use_true_random=False),
)
def test_splits_are_disjoint_and_do_not_depend_on_order(
    groups: list[str], valid: float, test: float, order: random.Random
) -> None:
    splits = split_groups(groups, valid, test)
    assert set(splits) == set(groups)  # every group has exactly one split
    assert "train" in splits.values()
    shuffled = list(groups)
    order.shuffle(shuffled)
    assert split_groups(shuffled, valid, test) == splits
    if valid > 0 and test > 0 and len(set(groups)) >= 3:
        assert set(splits.values()) == set(SPLITS)


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
    | st.integers(8_000, 48_000),
    channels=st.integers(1, 6),
)
def test_any_rate_and_any_number_of_channels(rate: int, channels: int) -> None:
    """A tone stays the same tone at 16 kHz mono: same time, same frequency, same height."""
    with tempfile.TemporaryDirectory() as folder:
        mono = tone(1.0, rate)
        path = write(Path(folder) / "tone.wav", np.tile(mono[:, None], (1, channels)), rate)
        clip = file_clip(path, 1.0)
        heard = Corpus("c", [clip]).load(clip, 0, SAMPLE_RATE)
    inner = slice(800, -800)  # resampling filters ring at the ends
    assert np.max(np.abs(heard[inner] - tone(1.0)[inner])) < 2e-3


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0.5), tone(0.5, frequency=1000.0)
    path = write(tmp_path / "stereo.wav", np.stack([left, right], axis=1))
    clip = file_clip(path, 0.5)
    heard = Corpus("c", [clip]).load(clip, 0, 8000)
    assert np.max(np.abs(heard - 0.5 * (left + right))) < 1e-4


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_blocks_of_a_long_file_join_as_if_read_at_once(tmp_path: Path, rate: int) -> None:
    seconds = BLOCK_SECONDS + 5
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, seconds * rate).astype(np.float32)
    path = write(tmp_path / "long.wav", samples, rate)
    stored = np.rint(samples * 32767) / 32767
    whole = soxr.resample(stored, rate, SAMPLE_RATE)
    clip = file_clip(path, seconds)
    start, length = BLOCK_SECONDS * SAMPLE_RATE - 5000, 10_000
    heard = Corpus("c", [clip]).load(clip, start, length)
    assert np.max(np.abs(heard - whole[start : start + length])) < 2e-4


def test_beyond_the_end_is_silence(tmp_path: Path) -> None:
    clip = file_clip(write(tmp_path / "short.wav", tone(0.1)), 0.1)
    heard = Corpus("c", [clip]).load(clip, 1000, 2000)
    assert np.any(heard[:600])
    assert not np.any(heard[600:])


def test_the_cache_stays_within_its_bound_and_changes_nothing(tmp_path: Path) -> None:
    clips = [file_clip(write(tmp_path / f"{i}.wav", bursts(i, 1.0)), 1.0) for i in range(8)]
    small = Corpus("small", clips, cache_bytes=3 * 2 * SAMPLE_RATE)
    large = Corpus("large", clips)
    for _ in range(2):
        for clip in clips:
            assert np.array_equal(small.load(clip, 0, 16_000), large.load(clip, 0, 16_000))
            assert small.cache.held_bytes <= 3 * 2 * SAMPLE_RATE
    assert large.cache.held_bytes == 8 * 2 * SAMPLE_RATE


def test_the_cache_decodes_once(tmp_path: Path) -> None:
    path = write(tmp_path / "once.wav", tone(1.0))
    clip = file_clip(path, 1.0)
    corpus = Corpus("c", [clip])
    first = corpus.load(clip, 100, 200)
    path.unlink()
    assert np.array_equal(corpus.load(clip, 100, 200), first)


def test_a_file_that_vanished_or_is_no_audio_is_bad_input(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    for path in (tmp_path / "gone.wav", text):
        clip = file_clip(path, 1.0)
        with pytest.raises(InputError, match=path.name):
            Corpus("c", [clip]).load(clip, 0, 100)


def test_nan_samples_are_bad_input(tmp_path: Path) -> None:
    import soundfile

    samples = tone(0.5)
    samples[77] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    clip = file_clip(tmp_path / "nan.wav", 0.5)
    with pytest.raises(InputError, match="not numbers"):
        Corpus("c", [clip]).load(clip, 0, 100)


def test_fingerprint_follows_the_listing() -> None:
    assert made_corpus().fingerprint == made_corpus().fingerprint
    assert made_corpus(5).fingerprint != made_corpus(6).fingerprint


def prepared(folder: Path, rows: list[dict[str, str]]) -> Path:
    for row in rows:
        write(folder / row["path"], bursts(1, 0.5))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder


def row(path: str, kind: str, identity: str, type_: str) -> dict[str, str]:
    return {
        "path": path,
        "kind": kind,
        "source": "somewhere",
        "licence": "CC0",
        "speaker_or_noise_id": identity,
        "type": type_,
        "duration_s": "0.5",
    }


def some_rows() -> list[dict[str, str]]:
    rows = [row(f"speech/{i}.wav", "speech", f"s{i // 2}", "clean_speech") for i in range(20)]
    rows += [row(f"speech/u{i}.wav", "speech", "unknown(>9)", "clean_speech") for i in range(3)]
    for type_ in ("rain", "dog", "wind", "bell"):
        rows += [row(f"noise/{type_}{i}.wav", "noise", f"{type_}{i}", type_) for i in range(3)]
    rows.append(row("noise/both1.wav", "noise", "fs7A", "rain"))
    rows.append(row("noise/both2.wav", "noise", "fs7B", "dog"))  # another cut of the same recording
    return rows


def test_prepared_recordings_hold_out_speakers_and_whole_noise_types(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "train", some_rows())
    for place in (tmp_path, folder, folder / "manifest.csv"):
        corpus = open_corpus(place)
        assert len(corpus.clips) == len(some_rows())
    splits: dict[str, set[str]] = {}
    types: dict[str, set[str]] = {}
    for clip in corpus.clips:
        splits.setdefault(clip.group, set()).add(clip.split)
        if clip.kind == "noise":
            types.setdefault(clip.type, set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert all(len(found) == 1 for found in types.values())
    assert splits["speech/somewhere/unknown(>9)"] == {"train"}
    assert corpus.speech("valid")
    assert corpus.noise("valid")
    assert corpus.held_out == "valid"
    assert types["rain"] == types["dog"]  # they share a recording
    assert not corpus.synthetic


def test_prepared_recordings_that_are_gone_are_counted(tmp_path: Path) -> None:
    folder = prepared(tmp_path, some_rows())
    (folder / "speech/3.wav").unlink()
    (folder / "noise/dog1.wav").unlink()
    with pytest.raises(InputError, match=r"2 of 37 files.*speech/3\.wav"):
        open_corpus(folder)


def test_what_is_not_a_corpus_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No data at"):
        open_corpus(tmp_path / "nothing")
    with pytest.raises(InputError, match="not a corpus"):
        open_corpus(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,kind\n")
    with pytest.raises(InputError, match="lacks the column source"):
        open_corpus(tmp_path)


def test_the_real_recordings_keep_speakers_and_types_apart(shared_data: Path) -> None:
    corpus = open_corpus(shared_data)
    assert len(corpus.clips) == 2492
    for clips in (corpus.speech, corpus.noise):
        assert clips("train")
        assert clips("valid")
        assert not {c.group for c in clips("train")} & {c.group for c in clips("valid")}
    assert not {c.type for c in corpus.noise("train")} & {c.type for c in corpus.noise("valid")}
    assert not any("devtest" in str(clip.path) for clip in corpus.clips)


def test_opening_again_keeps_what_was_decoded_until_the_listing_changes(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    write(folder / "speech" / "a.wav", bursts(0, 2.0))
    header = "path,kind,source,licence,speaker_or_noise_id,type,duration_s\n"
    line = "speech/a.wav,speech,made,none,anna,speech,2.0\n"
    (folder / "manifest.csv").write_text(header + line)
    corpus = open_corpus(folder)
    assert open_corpus(str(tmp_path)) is corpus
    (folder / "manifest.csv").write_text(header + line.replace("anna", "berta"))
    assert open_corpus(folder).clips[0].group != corpus.clips[0].group
