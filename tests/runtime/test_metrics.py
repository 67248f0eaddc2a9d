"""Metrics: golden numbers, invariances, what has no score, and the same from any process."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from runtime import metrics
from runtime.metrics import Scores, mean_scores, metric_versions, score, score_many, si_sdr
from targets.errors import InputError
from tests.golden.make_scores import noisy_versions, signals

GOLDEN = json.loads((Path(__file__).parent.parent / "golden/scores.json").read_text())["scores"]
CLEAN, NOISE = signals()
HAVE_PACKAGES = all(importlib.util.find_spec(name) for name in ("pesq", "pystoi"))
needs_packages = pytest.mark.skipif(
    not HAVE_PACKAGES, reason="pesq and pystoi are not installed (extra: metrics)"
)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_si_sdr_is_the_golden_one(name: str) -> None:
    expected = min(GOLDEN[name]["si_sdr"], metrics.SI_SDR_LIMIT_DB)
    assert si_sdr(CLEAN, noisy_versions()[name]) == pytest.approx(expected, abs=1e-6)


@needs_packages
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_pesq_and_stoi_are_the_golden_ones(name: str) -> None:
    scores = score(CLEAN, noisy_versions()[name])
    assert scores.pesq_wb == pytest.approx(GOLDEN[name]["pesq_wb"], abs=1e-3)
    assert scores.stoi == pytest.approx(GOLDEN[name]["stoi"], abs=1e-6)


def test_si_sdr_ignores_scale_and_offset() -> None:
    noisy = CLEAN + 0.05 * NOISE
    plain = si_sdr(CLEAN, noisy)
    assert si_sdr(CLEAN, 0.01 * noisy + 0.3) == pytest.approx(plain, abs=1e-3)
    assert si_sdr(7.0 * CLEAN - 0.2, noisy) == pytest.approx(plain, abs=1e-3)


def test_si_sdr_is_finite_at_its_ends() -> None:
    assert si_sdr(CLEAN, CLEAN) == metrics.SI_SDR_LIMIT_DB
    assert si_sdr(CLEAN, np.zeros_like(CLEAN)) == -metrics.SI_SDR_LIMIT_DB


def test_bad_signals_are_bad_input() -> None:
    nan = CLEAN.copy()
    nan[5] = np.nan
    for reference, estimate, message in (
        (np.zeros_like(CLEAN), CLEAN, "silent"),
        (CLEAN, CLEAN[:-1], "shapes"),
        (CLEAN[:0], CLEAN[:0], "shapes"),
        (CLEAN[:, None], CLEAN[:, None], "shapes"),
        (CLEAN, nan, "not numbers"),
    ):
        with pytest.raises(InputError, match=message):
            si_sdr(reference, estimate)
    with pytest.raises(InputError):
        score(CLEAN, nan)


def test_what_cannot_be_judged_has_no_score() -> None:
    silent = np.zeros_like(CLEAN)
    assert score(silent, CLEAN) == Scores(None, None, None)
    assert score(CLEAN, silent).pesq_wb is None
    short = score(CLEAN[2000:2800], CLEAN[2000:2800])
    assert short.pesq_wb is None
    assert short.stoi is None
    assert metrics.pesq_wb(CLEAN, CLEAN, rate=8000) is None


def test_an_unjudgeable_utterance_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pesq = pytest.importorskip("pesq")

    def no_utterances(*_: object) -> float:
        raise pesq.NoUtterancesError(b"No utterances detected")

    monkeypatch.setattr(pesq, "pesq", no_utterances)
    assert metrics.pesq_wb(CLEAN, CLEAN) is None


def test_without_the_packages_there_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    absent = ("pesq", "pystoi")

    def find(name: str, package: str | None = None) -> object:
        return None if name in absent else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    scores = score(CLEAN, noisy_versions()["noise at 20 dB"])
    assert scores.si_sdr is not None
    assert (scores.pesq_wb, scores.stoi) == (None, None)


def test_versions_name_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(metric_versions()) == {"pesq", "pystoi"}
    assert set(metric_versions(["dnsmos", "haspi", "hasqi"])) == {"speechmos", "pyclarity"}

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert metric_versions() == {"pesq": "not installed", "pystoi": "not installed"}


def test_means_leave_out_what_was_not_measured() -> None:
    mean = mean_scores([Scores(1.0, None, 0.5), Scores(4.0, 2.0, None), Scores(None, None, None)])
    assert mean == Scores(2.5, 2.0, 0.5)
    assert mean_scores([]) == Scores(None, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_scores(workers: int) -> None:
    pairs = [(CLEAN, estimate) for estimate in noisy_versions().values()]
    assert score_many(pairs, workers=workers) == score_many(pairs, workers=1)


@pytest.mark.slow
@needs_packages
def test_devtest_scores_as_its_description_says(shared_data: Path) -> None:
    """The published means of the untouched input."""
    import soundfile

    pairs = []
    for noisy in sorted((shared_data / "devtest/noisy").iterdir()):
        clean = shared_data / "devtest/clean" / noisy.name
        pairs.append((soundfile.read(clean)[0], soundfile.read(noisy)[0]))
    mean = mean_scores(score_many(pairs))
    assert mean.si_sdr == pytest.approx(4.44, abs=0.005)
    assert mean.pesq_wb == pytest.approx(1.308, abs=0.0005)
    assert mean.stoi == pytest.approx(0.809, abs=0.0005)
