"""Bootstrap intervals, groups of items, paired differences, and the mixtures that are drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import stats

from distill.evaluation.material import Item, corpus_material, paired_material, paired_sounds
from distill.evaluation.scoring import Row
from distill.evaluation.statistics import (
    Estimate,
    Resampling,
    by_group,
    differences,
    estimate,
    overall,
)
from distill.evaluation.tables import cell
from runtime.metrics import Scores
from targets.errors import InputError
from tests.distill.pairs import MIXTURES, write_pairs
from tests.distill.recordings import made_corpus

HOW = Resampling(resamples=500)


def row(name: str, values: list[float | None]) -> Row:
    return Row(name, None, tuple(Scores(value, None, None) for value in values), ("si-sdr",))


def test_an_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, 3.0, 40)
    ours = estimate(list(values), Resampling(resamples=9999))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile")
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.15)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.15)


def test_an_interval_repeats_and_depends_on_its_seed() -> None:
    values = list(np.random.default_rng(2).standard_normal(30))
    assert estimate(values, HOW) == estimate(values, HOW)
    assert estimate(values, HOW) != estimate(values, replace(HOW, seed=1))


def test_most_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        one = estimate(list(rng.standard_normal(40)), HOW)
        assert one.low is not None
        assert one.high is not None
        held += one.low <= 0.0 <= one.high
    assert 176 <= held <= 199  # 95 % of 200 is 190


def test_too_little_has_no_interval() -> None:
    assert estimate([], HOW) == Estimate(None, None, None, 0)
    assert estimate([None, None], HOW) == Estimate(None, None, None, 0)
    assert estimate([None, 3.0], HOW) == Estimate(3.0, None, None, 1)
    assert estimate([2.0, 2.0], HOW) == Estimate(2.0, 2.0, 2.0, 2)


def test_differences_are_paired_over_the_items_that_both_have() -> None:
    rng = np.random.default_rng(4)
    base = 10.0 * rng.standard_normal(50)
    noisy = row("Noisy", [*base, None, 5.0])
    better = row("Better", [*(base + 0.5 + 0.1 * rng.standard_normal(50)), 7.0, None])
    (line,) = differences([noisy, better], noisy, HOW).lines
    gain = line.estimates["si_sdr"]
    assert gain.items == 50
    assert gain.mean == pytest.approx(0.5, abs=0.05)
    assert not gain.holds_zero  # although items differ by far more than rows
    assert overall([noisy, better], HOW).lines[1].estimates["si_sdr"].items == 51


def items() -> list[Item]:
    snrs = [4.9, -5.2, 12.4, float("inf"), 0.3, -0.4]
    types = ["train", "rain", "train", "rain", "unknown", "train"]
    return [
        Item(str(n), replace(MIXTURES[0], snr_db=snr), type_)
        for n, (snr, type_) in enumerate(zip(snrs, types, strict=True))
    ]


def test_items_are_grouped_by_ratio_and_by_noise() -> None:
    rows = [row("Noisy", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]
    snr = by_group(rows, items(), "snr", HOW)
    assert [(one.group, one.items) for one in snr] == [
        ("-5 dB", 1),
        ("0 dB", 2),
        ("+5 dB", 1),
        ("+10 dB", 1),
        ("no noise", 1),
    ]
    assert snr[1].lines[0].estimates["si_sdr"].mean == pytest.approx(5.5)
    noise = by_group(rows, items(), "noise", HOW)
    assert [(one.group, one.items) for one in noise] == [("rain", 2), ("train", 3), ("unknown", 1)]


def test_a_difference_that_may_be_none_stands_in_parentheses() -> None:
    assert cell(Estimate(0.04, -0.1, 0.2, 9), 2, True) == "(+0.04)\n-0.10 … +0.20"
    assert cell(Estimate(0.34, 0.1, 0.6, 9), 2, True) == "+0.34\n+0.10 … +0.60"
    assert cell(Estimate(1.0, 0.5, 1.5, 9), 1, False) == "1.0\n0.5 … 1.5"
    assert cell(Estimate(None, None, None, 0), 2, False) == "–"
    assert cell(Estimate(1.0, None, None, 1), 2, False) == "1.00"


def test_mixtures_are_balanced_over_ratios_and_types() -> None:
    drawn = corpus_material(made_corpus(), "test", 20, 0.5, 0)
    ratios = Counter(item.snr_bucket for item in drawn)
    assert ratios == dict.fromkeys(("-5 dB", "0 dB", "+5 dB", "+10 dB", "+15 dB"), 4)
    assert Counter(item.noise_type for item in drawn) == {"type0": 10, "type1": 10}
    cells = Counter((item.snr_bucket, item.noise_type) for item in drawn)
    assert set(cells.values()) == {2}
    again = corpus_material(made_corpus(), "test", 20, 0.5, 0)
    for one, other in zip(drawn, again, strict=True):
        np.testing.assert_array_equal(one.mixture.noisy, other.mixture.noisy)
    other_seed = corpus_material(made_corpus(), "test", 1, 0.5, 1)[0]
    assert not np.array_equal(other_seed.mixture.noisy, drawn[0].mixture.noisy)


def test_pairs_without_a_listing_have_a_computed_ratio(tmp_path: Path) -> None:
    (first, *_) = paired_material(write_pairs(tmp_path))
    assert first.noise_type == "unknown"
    assert -20.0 < first.mixture.snr_db < 40.0


def test_a_listing_says_what_pairs_are(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / "manifest.csv").write_text(
        "file,speech_source,speaker,noise_type,noise_ids,snr_db_active\n"
        "pair1.flac,Libri,12,siren,fs67358A@0.00s|fs9B@1.2s,15\n"
        "pair2.flac,,,,,\n"
    )
    first, second, third = paired_material(tmp_path)
    assert (first.snr_bucket, first.noise_type) == ("+15 dB", "siren")
    assert first.speaker == "speech/Libri/12"
    assert first.noises == ("noise/fs67358", "noise/fs9")
    for plain in (second, third):
        assert (plain.noise_type, plain.speaker, plain.noises) == ("unknown", None, ())
    speech, noise = paired_sounds([first])
    np.testing.assert_allclose(speech.load() + noise.load(), first.mixture.noisy, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,snr_db\npair1.wav,3\n", "lacks the column file"),
        ("file,snr_db\npair1.wav,loud\n", "a ratio of 'loud'"),
        (b"\xff\xfe\x00\x81", "cannot be read as CSV"),
    ],
)
def test_a_bad_listing_is_bad_input(tmp_path: Path, content: str | bytes, message: str) -> None:
    write_pairs(tmp_path)
    raw = content.encode() if isinstance(content, str) else content
    (tmp_path / "manifest.csv").write_bytes(raw)
    with pytest.raises(InputError, match=message):
        paired_material(tmp_path)


def test_a_pair_that_holds_no_numbers_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    bad = np.full(16_000, np.nan, np.float32)
    soundfile.write(tmp_path / "clean/pair2.wav", bad, 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match="pair2"):
        paired_material(tmp_path)
