"""Given responses: how files are read, where they begin and end, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.corpus import FloatArray
from distill.responses import EARLY_SAMPLES, LEAD, given_rooms, prepared
from targets.errors import InputError


def response(direct: int = 30, taps: int = 2000, t60: float = 0.1) -> FloatArray:
    """Direct sound, then decaying noise."""
    time = np.arange(taps - direct) / 16_000
    tail = np.random.default_rng(0).standard_normal(len(time)) * 10.0 ** (-3.0 * time / t60)
    made = np.zeros(taps)
    made[direct:] = 0.2 * tail
    made[direct] = 1.0
    return made.astype(np.float32)


def test_a_response_begins_at_the_direct_sound_and_keeps_the_level() -> None:
    for direct in (0, 3, 30):
        kept = prepared(response(direct), direct, "here")
        assert np.argmax(np.abs(kept)) == min(direct, LEAD)
        assert np.sum(kept[:EARLY_SAMPLES].astype(np.float64) ** 2) == pytest.approx(1.0, rel=1e-5)


def test_a_response_ends_with_its_audible_tail() -> None:
    given = response(taps=16_000)
    kept = prepared(given, 30, "here")
    assert len(kept) < 2500
    lost = np.sum(given[30 - LEAD + len(kept) :].astype(np.float64) ** 2)
    assert lost <= 1e-6 * np.sum(given.astype(np.float64) ** 2)


def test_an_array_is_a_room_with_some_places_held_out(tmp_path: Path) -> None:
    places = np.stack([[response(10 + p), response(20 + p)] for p in range(20)])
    np.save(tmp_path / "room.npy", places)
    train = given_rooms(tmp_path, held_out=False)
    valid = given_rooms(tmp_path, held_out=True)
    assert [len(room.responses) for room in train] == [18, 18]  # two microphones
    assert [len(room.responses) for room in valid] == [2, 2]


@pytest.mark.parametrize("shape", [(-1,), (1, -1), (1, 1, -1)])
def test_an_array_may_have_one_to_three_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "room.npy", response().reshape(shape))
    (room,) = given_rooms(tmp_path, held_out=False)
    (only,) = given_rooms(tmp_path, held_out=True)  # too few places to hold one out
    assert np.array_equal(room.responses[0], only.responses[0])


def test_audio_files_of_a_folder_are_places_in_one_room(tmp_path: Path) -> None:
    for place in range(3):
        path = tmp_path / "kitchen" / f"{place}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.stack([response(), response(40)], axis=1), 16_000, "FLOAT")
    left, right = given_rooms(tmp_path, held_out=False)
    assert len(left.responses) == len(right.responses) == 3
    assert np.allclose(left.responses[0], prepared(response(), 30, ""), atol=1e-6)


def test_bad_folders_and_files_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        given_rooms(tmp_path / "absent", held_out=False)
    with pytest.raises(InputError, match="No room responses"):
        given_rooms(tmp_path, held_out=False)
    file = tmp_path / "room.npy"
    for wrong, complaint in (
        (np.zeros((2, 500), np.float32), "silent"),
        (np.full((2, 500), np.nan, np.float32), "not numbers"),
        (np.zeros((2, 500), np.int16), "not a set of room responses"),
        (np.zeros((1, 2, 3, 4), np.float32), "not a set of room responses"),
        (np.zeros((0, 500), np.float32), "not a set of room responses"),
    ):
        np.save(file, wrong)
        with pytest.raises(InputError, match=complaint) as caught:
            given_rooms(tmp_path, held_out=False)
        assert str(file) in str(caught.value)
    file.write_bytes(b"\x93NUMPY nonsense")
    with pytest.raises(InputError, match="not a numpy array"):
        given_rooms(tmp_path, held_out=False)
    file.unlink()
    soundfile.write(tmp_path / "room.wav", response(), 48_000)
    with pytest.raises(InputError, match="48000 samples per second"):
        given_rooms(tmp_path, held_out=False)
    (tmp_path / "room.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="not audio"):
        given_rooms(tmp_path, held_out=False)
