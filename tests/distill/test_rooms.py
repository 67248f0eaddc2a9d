"""Simulated rooms: reverberation time by Schroeder's integration, repeats, the cache, errors."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from distill import rooms as rooms_module
from distill.corpus import FloatArray
from distill.responses import LEAD
from distill.rooms import Rooms, eyring_absorption, simulate, simulated_rooms
from targets.errors import InputError

pytest.importorskip("pyroomacoustics", reason="needs sordino[rooms]")

SMALL: dict[str, Any] = {
    "places": 2,
    "t60_s": (0.2, 0.2),
    "length_m": (3.0, 4.0),
    "width_m": (3.0, 4.0),
    "height_m": (2.4, 2.6),
}


def reverberation_time(response: FloatArray) -> float:
    """Seconds for 60 dB, from −5 to −25 dB of the energy still to come (M. Schroeder, 1965)."""
    remaining = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    decay = 10.0 * np.log10(remaining / remaining[0])
    return 3.0 * float(np.argmax(decay < -25.0) - np.argmax(decay < -5.0)) / 16_000


def test_eyring_by_hand() -> None:
    # 5 × 4 × 2.5 m: V = 50 m³, S = 85 m²; T60 = 0.161 V / (−S ln(1 − a)).
    absorption = eyring_absorption(np.array([5.0, 4.0, 2.5]), 0.4)
    assert 0.1611 * 50.0 / (-85.0 * np.log(1.0 - absorption)) == pytest.approx(0.4, rel=1e-3)


def test_the_measure_of_reverberation_knows_an_exact_decay() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000)
    for t60 in (0.2, 0.6):
        decay = (noise * 10.0 ** (-3.0 * np.arange(16_000) / 16_000 / t60)).astype(np.float32)
        assert reverberation_time(decay) == pytest.approx(t60, rel=0.05)


@pytest.mark.parametrize("t60", [0.2, 0.4])
def test_the_reverberation_time_is_the_one_asked_for(t60: float) -> None:
    settings = Rooms(**(SMALL | {"t60_s": (t60, t60)}))
    measured = [reverberation_time(response) for response in simulate(settings, 1)]
    assert np.mean(measured) == pytest.approx(t60, rel=0.25)


def test_a_room_begins_with_its_direct_sound_and_differs_from_place_to_place() -> None:
    first, second = simulate(Rooms(**SMALL), 0)
    for response in (first, second):
        assert np.abs(response[: LEAD + 2]).max() > 0.3 * np.abs(response).max()
    assert not np.array_equal(first[:500], second[:500])


def test_rooms_repeat_whatever_is_simulated_before_them(tmp_path: Path) -> None:
    settings = Rooms(**SMALL, count=3, cache=tmp_path)
    all_three = simulated_rooms(settings, held_out=False)
    alone = simulate(settings, 2)
    assert all(np.array_equal(a, b) for a, b in zip(all_three[2].responses, alone, strict=True))
    other = simulate(settings.model_copy(update={"seed": 1}), 2)
    assert not np.array_equal(other[0][:500], alone[0][:500])


def fake(settings: Rooms, number: int) -> tuple[FloatArray, ...]:
    return tuple(np.full(10 + number + p, 1.0 + p, np.float32) for p in range(settings.places))


def test_a_cached_room_is_not_simulated_again_and_a_damaged_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(settings: Rooms, number: int) -> tuple[FloatArray, ...]:
        made.append(number)
        return fake(settings, number)

    monkeypatch.setattr(rooms_module, "simulate", counted)
    settings = Rooms(count=2, cache=tmp_path)
    first = simulated_rooms(settings, held_out=False)
    again = simulated_rooms(settings, held_out=False)
    assert made == [0, 1]
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.responses, b.responses, strict=True))
    more = settings.model_copy(update={"count": 3})  # the first two are already there
    simulated_rooms(more, held_out=False)
    assert made == [0, 1, 2]
    (kept,) = tmp_path.rglob("00001.npy")
    kept.write_bytes(kept.read_bytes()[:100])
    simulated_rooms(settings, held_out=False)
    assert made == [0, 1, 2, 1]
    simulated_rooms(settings.model_copy(update={"seed": 5}), held_out=False)
    assert len(made) == 6


def test_every_tenth_room_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_module, "simulate", fake)
    settings = Rooms(count=20, cache=tmp_path)
    train = [room.name for room in simulated_rooms(settings, held_out=False)]
    valid = [room.name for room in simulated_rooms(settings, held_out=True)]
    assert valid == ["simulated 9", "simulated 19"]
    assert len(train) == 18
    assert set(train).isdisjoint(valid)


def test_a_cache_that_cannot_be_written_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms_module, "simulate", fake)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="Cannot keep simulated rooms"):
        simulated_rooms(Rooms(count=1, cache=tmp_path / "file"), held_out=False)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(InputError, match="pyroomacoustics") as caught:
        simulated_rooms(Rooms(), held_out=False)
    assert "sordino[rooms]" in (caught.value.hint or "")


def test_places_that_do_not_fit_are_bad_input() -> None:
    far = Rooms(**(SMALL | {"distance_m": (50.0, 60.0)}))
    with pytest.raises(InputError, match="No place 50"):
        simulate(far, 0)


@pytest.mark.parametrize(
    "wrong",
    [{"t60_s": (0.0, 0.5)}, {"height_m": (3.0, 2.0)}, {"length_m": (0.5, 1.0)}, {"places": 1}],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rooms(**wrong)
