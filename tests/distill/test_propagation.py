"""Rooms and filters as one multiplication of spectra, against convolution by definition."""

from __future__ import annotations

import numpy as np
import pytest

from distill.biquads import high_pass, impulse_response, peak
from distill.corpus import FloatArray
from distill.propagation import Placement, Propagation, placed
from distill.responses import EARLY_SAMPLES, Room

RNG = np.random.default_rng(0)
SPEECH, NOISE, OTHER = (RNG.standard_normal(3000).astype(np.float32) for _ in range(3))


def decaying(seed: int, taps: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(taps) * np.exp(-np.arange(taps) / 300.0)).astype(np.float32)


ROOM = Room("room", tuple(decaying(seed, taps) for seed, taps in enumerate((1500, 1700, 900))))
FILTERS = (impulse_response(peak(800.0, 5.0, 1.0)), impulse_response(high_pass(90.0)))


def convolved(*signals: FloatArray) -> FloatArray:
    result = signals[0].astype(np.float64)
    for signal in signals[1:]:
        result = np.convolve(result, signal)[: len(signals[0])]
    return result.astype(np.float32)


@pytest.mark.parametrize("filters", [(None, None), FILTERS, (FILTERS[0], None), (None, FILTERS[1])])
@pytest.mark.parametrize("sources", [1, 2, 5])
def test_every_source_goes_its_own_way(
    filters: tuple[FloatArray | None, FloatArray | None], sources: int
) -> None:
    tracks = [np.roll(NOISE, 100 * number) for number in range(sources)]
    places = tuple((1, 2)[number % 2] for number in range(sources))
    scene = Propagation().scene(SPEECH, tracks, Placement(ROOM, 0, places), filters)
    of_speech, of_noise = ([f] if f is not None else [] for f in filters)
    early = ROOM.responses[0][:EARLY_SAMPLES]
    assert np.allclose(scene.heard, convolved(SPEECH, ROOM.responses[0], *of_speech), atol=1e-4)
    assert np.allclose(scene.target, convolved(SPEECH, early, *of_speech), atol=1e-4)
    expected = sum(
        convolved(track, ROOM.responses[place], *of_noise)
        for track, place in zip(tracks, places, strict=True)
    )
    assert np.allclose(scene.noise, expected, atol=5e-4)


def test_without_a_room_the_filters_remain_and_the_target_is_all_that_is_heard() -> None:
    scene = Propagation().scene(SPEECH, [NOISE, OTHER], None, FILTERS)
    assert np.array_equal(scene.heard, scene.target)
    assert np.allclose(scene.heard, convolved(SPEECH, FILTERS[0]), atol=1e-4)
    assert np.allclose(scene.noise, convolved(NOISE + OTHER, FILTERS[1]), atol=1e-4)


def test_a_response_that_is_all_early_leaves_nothing_to_remove() -> None:
    dry = Room("dry", (decaying(1, EARLY_SAMPLES), decaying(2, 700)))
    scene = Propagation().scene(SPEECH, [NOISE], Placement(dry, 0, (1,)), (None, None))
    assert np.array_equal(scene.heard, scene.target)


def test_kept_spectra_change_nothing() -> None:
    used, placement = Propagation(), Placement(ROOM, 2, (0,))
    for _ in range(2):
        again = used.scene(SPEECH, [NOISE], placement, FILTERS)
        fresh = Propagation().scene(SPEECH, [NOISE], placement, FILTERS)
        assert np.array_equal(again.heard, fresh.heard)
        assert np.array_equal(again.noise, fresh.noise)


def test_noise_is_never_where_the_speech_is_unless_there_is_one_place() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        placement = placed(ROOM, 4, rng)
        assert placement.speech not in placement.noise
        assert len(set(placement.noise)) == 2
    lonely = placed(Room("one", ROOM.responses[:1]), 2, rng)
    assert (lonely.speech, lonely.noise) == (0, (0, 0))
