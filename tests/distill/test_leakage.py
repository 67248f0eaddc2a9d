"""A training clip planted in a test set is found, by name and by sound; others raise no alarm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill import fingerprint_cache
from distill.corpus import Clip, Corpus, FloatArray
from distill.demo_corpus import demo_clips
from distill.fingerprint import Index, fingerprint
from distill.fingerprint_cache import cache_folder, clip_fingerprints, decode_clip
from distill.leakage import Sound, TestSet, TrainingData, check_leakage, clip_sounds
from targets.errors import InputError
from tests.distill.recordings import made_clip, tone

RATE = 16_000
VOICES = [clip for clip in demo_clips() if clip.kind == "speech" and clip.split == "train"][:12]
CORPUS = Corpus("demo speech", VOICES)
DATA = TrainingData("demo speech", None, CORPUS.fingerprint)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


def sound(samples: FloatArray, label: str = "test (speech)") -> Sound:
    return Sound(label, (), "test", len(samples) / RATE, lambda: samples)


def through_ogg(path: Path, samples: FloatArray) -> FloatArray:
    soundfile.write(path, samples, RATE, format="OGG", subtype="VORBIS")
    decoded: FloatArray = soundfile.read(path, dtype="float32")[0]
    return decoded


def check(*sounds: Sound) -> list[str]:
    verdicts = check_leakage([("m", [DATA])], TestSet(sounds), [CORPUS])
    return [verdict.state for verdict in verdicts]


def test_a_planted_clip_is_found_whatever_was_done_to_it(tmp_path: Path) -> None:
    clip = VOICES[3]
    whole = decode_clip(clip)
    cut = whole[7_777 : 7_777 + 2 * RATE]
    planted = through_ogg(tmp_path / "planted.ogg", 0.25 * cut)
    with pytest.raises(InputError, match="was trained on 1 of the test sounds") as refusal:
        check(sound(planted))
    assert f"sounds like {clip.name} from 0.5 s" in refusal.value.message


def test_a_training_clip_inside_a_longer_test_file_is_found() -> None:
    clip = decode_clip(VOICES[0])
    longer = np.concatenate([decode_clip(demo_clips()[-1])[: 3 * RATE], clip, np.zeros(RATE)])
    with pytest.raises(InputError, match="sounds like"):
        check(sound(longer.astype(np.float32)))


def test_other_sounds_raise_no_alarm() -> None:
    rng = np.random.default_rng(0)
    held_out = [c for c in demo_clips() if c.kind == "speech" and c.split == "test"][:6]
    assert check(
        *(sound(decode_clip(clip), clip.name) for clip in held_out),
        sound(rng.standard_normal(5 * RATE).astype(np.float32), "white noise"),
        sound(np.zeros(5 * RATE, np.float32), "silence"),
        sound(tone(5.0), "tone"),
        sound(np.zeros(0, np.float32), "nothing"),
        sound(tone(0.01), "a moment"),
    ) == ["passed"]


def test_two_recordings_of_one_tone_are_not_the_same() -> None:
    rng = np.random.default_rng(1)
    hums = [
        (tone(6.0, frequency=1000.0) + 0.02 * rng.standard_normal(6 * RATE)).astype(np.float32)
        for _ in range(2)
    ]
    assert Index([fingerprint(hums[0])]).search(fingerprint(hums[1])) is None
    assert Index([fingerprint(hums[0])]).search(fingerprint(hums[0][5000:])) is not None


def test_an_empty_collection_finds_nothing() -> None:
    assert Index([]).search(fingerprint(decode_clip(VOICES[0]))) is None


def test_what_was_only_tested_on_is_no_training_data() -> None:
    moved = [replace(clip, split="test") for clip in VOICES[:4]]
    corpus = Corpus("other", [*moved, *VOICES[4:]])
    data = TrainingData("other", None, corpus.fingerprint)
    found = check_leakage([("m", [data])], TestSet((sound(decode_clip(VOICES[0])),)), [corpus])
    assert found[0].state == "passed"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            replace(sound(tone(1.0)), identities=(VOICES[0].group,)),
            f"is of {VOICES[0].group}",
        ),
        (
            replace(sound(tone(VOICES[1].duration)), stem=Path(VOICES[1].name).stem),
            f"has the name and length of {VOICES[1].name}",
        ),
    ],
)
def test_names_tell_too(named: Sound, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(named)


def test_equal_names_of_files_that_differ_in_length_are_chance() -> None:
    other = replace(sound(tone(1.0)), stem=Path(VOICES[1].name).stem)
    assert check(other) == ["passed"]


def test_a_file_is_no_identity() -> None:
    """Folders scanned twice over hold a 001.wav each."""
    clip = replace(made_clip("noise", 1, "train", 2.0, "x"), group="noise/street/001.wav")
    corpus = Corpus("scanned", [*VOICES, clip])
    (test_sound,) = clip_sounds(Corpus("t", [replace(clip, split="test")]), ["test"])
    assert test_sound.identities == ()
    data = TrainingData("scanned", None, corpus.fingerprint)
    other = replace(test_sound, stem="another", load=lambda: tone(1.0))
    assert check_leakage([("m", [data])], TestSet((other,)), [corpus])[0].state == "passed"


def test_the_held_out_split_of_the_same_corpus_is_held_out() -> None:
    test = TestSet((sound(decode_clip(VOICES[0])),), CORPUS)
    (verdict,) = check_leakage([("m", [DATA])], test, [CORPUS])
    assert verdict.state == "passed"
    assert "held-out split" in verdict.detail


def test_what_could_not_be_compared_did_not_pass() -> None:
    test = TestSet((sound(tone(1.0)),))
    verdicts = check_leakage(
        [
            ("gone", [TrainingData("mine", "no/such/place", "00")]),
            ("changed", [TrainingData("demo", "demo", "00")]),
            ("moved", [TrainingData("mine", None, "00")]),
            ("half", [DATA, TrainingData("its teacher", None, None)]),
            ("recordings", None),
        ],
        test,
    )
    assert [one.state for one in verdicts] == ["unavailable"] * 4 + ["unknown"]
    assert "No data at no/such/place" in verdicts[0].detail
    assert "no longer lists" in verdicts[1].detail
    named = check_leakage([("recordings", None)], test, [CORPUS])
    assert named[0].state == "passed"


def test_fingerprints_are_kept_by_content(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sordino" / "fingerprints"
    first = clip_fingerprints(VOICES[:2])
    (kept,) = cache_folder().iterdir()
    renamed = [replace(clip, name=f"other {clip.name}") for clip in VOICES[:2]]

    def again(*_: object) -> list[object]:
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(fingerprint_cache, "_compute", again)
        for one, other in zip(first, clip_fingerprints(renamed), strict=True):
            np.testing.assert_array_equal(one.hashes, other.hashes)
            np.testing.assert_array_equal(one.frames, other.frames)
    kept.write_bytes(b"PK\x03\x04 damaged")
    repaired = clip_fingerprints(VOICES[:2])
    np.testing.assert_array_equal(repaired[1].hashes, first[1].hashes)
    assert kept.stat().st_size > 100


def test_without_a_cache_it_works_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert len(clip_fingerprints(VOICES[:1])[0].hashes) > 50


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_fingerprints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint_cache, "FEW_SECONDS", 0.0)
    made: list[Clip] = [*VOICES[:3], made_clip("noise", 1, "train", 2.0, "x")]
    files = [clip for clip in made if clip.path]
    one = fingerprint_cache._compute(files, 1, None)
    two = fingerprint_cache._compute(files, 2, None)
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.hashes, second.hashes)


@pytest.mark.slow
def test_devtest_holds_nothing_of_train(shared_data: Path) -> None:
    from distill.corpus import open_corpus
    from distill.evaluation.material import paired_material, paired_sounds

    corpus = open_corpus(shared_data)
    data = TrainingData("train", None, corpus.fingerprint)
    sounds = tuple(paired_sounds(paired_material(shared_data / "devtest")))
    anonymous = tuple(replace(one, identities=()) for one in sounds)  # sound alone must do
    for test in (sounds, anonymous):
        assert check_leakage([("m", [data])], TestSet(test), [corpus])[0].state == "passed"
