"""DNSMOS, HASPI and HASQI are those of their packages; which metrics there are and who computes."""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from runtime.metrics import (
    METRICS,
    Scores,
    choose_metrics,
    columns_of,
    metric_versions,
    open_audiogram,
    score,
)
from runtime.metrics import dnsmos as dnsmos_module
from runtime.metrics.dnsmos import dnsmos, model_file
from runtime.metrics.hearing import STANDARD, haspi, hasqi
from targets.errors import InputError
from tests.golden.make_scores import noisy_versions, signals

CLEAN, NOISE = signals()
NOISY = noisy_versions()["noise at 10 dB"]
FIVE_SECONDS = np.concatenate([CLEAN, CLEAN[:16_000]])  # repeated, one segment of DNSMOS
# Two seconds at −10 dB: at 10 dB these vowels are still perfectly intelligible.
SHORT, SHORT_NOISY = CLEAN[:32_000], (CLEAN + np.float32(0.3) * NOISE)[:32_000]
needs_speechmos = pytest.mark.skipif(model_file() is None, reason="speechmos is not installed")
needs_clarity = pytest.mark.skipif(
    importlib.util.find_spec("clarity") is None, reason="pyclarity is not installed"
)


@needs_speechmos
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.0, 4.0, 11.3])
def test_dnsmos_is_that_of_the_package(seconds: float) -> None:
    package = pytest.importorskip("speechmos.dnsmos", exc_type=ImportError)
    signal = np.tile(NOISY, 4)[: round(seconds * 16_000)]
    theirs = package.run(signal, 16_000)
    ours = dnsmos(signal)
    expected = (theirs["sig_mos"], theirs["bak_mos"], theirs["ovrl_mos"])
    assert ours == pytest.approx(expected, abs=1e-4)


@needs_speechmos
def test_dnsmos_hears_noise() -> None:
    noisy = FIVE_SECONDS + np.float32(0.03) * np.resize(NOISE, len(FIVE_SECONDS))
    scores = score(FIVE_SECONDS, noisy, metrics=("dnsmos",))
    assert scores.si_sdr is None
    assert scores.dnsmos_bak is not None
    quiet = score(FIVE_SECONDS, FIVE_SECONDS, metrics=("dnsmos",)).dnsmos_bak
    assert quiet is not None
    assert 1.0 <= scores.dnsmos_bak < quiet <= 5.0


@needs_speechmos
def test_dnsmos_takes_what_exceeds_full_scale_as_a_file_would() -> None:
    loud = 20.0 * FIVE_SECONDS
    assert dnsmos(loud) == dnsmos(np.clip(loud, -1.0, 1.0))
    assert dnsmos(np.zeros_like(CLEAN)) is None
    assert dnsmos(CLEAN, rate=8_000) is None


def test_without_the_packages_there_are_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    absent = ("speechmos", "clarity", "pesq", "pystoi")

    def find(name: str, package: str | None = None) -> object:
        return None if name in absent else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert dnsmos_module.model_file() is None
    scores = score(CLEAN, NOISY, metrics=tuple(METRICS), audiogram=STANDARD["N3"])
    assert scores == Scores(scores.si_sdr, None, None)
    assert scores.si_sdr is not None


def random_state() -> str:
    """Of numpy's global generator."""
    return repr(np.random.get_state(legacy=False)["state"])


@needs_clarity
@pytest.mark.slow
def test_hearing_indices_fall_with_noise_and_repeat() -> None:
    clean, noisy = SHORT, SHORT_NOISY
    listener = STANDARD["N2"]
    state = random_state()
    for index in (haspi, hasqi):
        best, worse = index(clean, clean, listener), index(clean, noisy, listener)
        assert best is not None
        assert worse is not None
        assert 0.0 <= worse < best <= 1.0 + 1e-9
        assert index(clean, noisy, listener) == worse  # although the packages draw noise
        # Presented at one level, whatever that of the recording is.
        assert index(0.1 * clean, 0.1 * noisy, listener) == pytest.approx(worse, abs=1e-3)
    assert random_state() == state
    assert logging.root.manager.disable == logging.NOTSET


@needs_clarity
@pytest.mark.slow
def test_a_hearing_loss_costs_intelligibility_that_amplification_cannot_return() -> None:
    heard = [haspi(SHORT, SHORT_NOISY, STANDARD[name]) for name in ("normal", "N5")]
    assert heard[0] is not None
    assert heard[1] is not None
    assert heard[1] < heard[0]


@needs_clarity
def test_hearing_indices_need_sound() -> None:
    silent = np.zeros_like(CLEAN)
    for index in (haspi, hasqi):
        assert index(CLEAN, silent, STANDARD["N2"]) is None
        assert index(silent, CLEAN, STANDARD["N2"]) is None
        assert index(CLEAN[:4000], CLEAN[:4000], STANDARD["N2"]) is None


def test_hearing_indices_need_a_listener() -> None:
    with pytest.raises(InputError, match="need an audiogram"):
        score(CLEAN, NOISY, metrics=("haspi",))


def test_standard_audiograms_are_named_in_any_case() -> None:
    assert open_audiogram("n3").levels[-1] == 65
    assert open_audiogram("S2") is STANDARD["S2"]
    for audiogram in STANDARD.values():  # thresholds of the published set only rise with frequency
        assert list(audiogram.levels) == sorted(audiogram.levels)
    flatter = [STANDARD[f"N{n}"].levels for n in range(1, 8)]
    for mild, severe in itertools.pairwise(flatter):
        assert all(low <= high for low, high in zip(mild, severe, strict=True))


def test_an_audiogram_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"frequencies": [250, 1000, 4000], "levels": [10, 20, 60]}))
    audiogram = open_audiogram(str(path))
    assert (audiogram.name, audiogram.levels) == ("mine", (10.0, 20.0, 60.0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not an audiogram in JSON"),
        ("[1, 2]", "mine.json: the file"),
        ('{"frequencies": [250, 500], "levels": [1]}', "as many levels"),
        ('{"frequencies": [500, 250], "levels": [1, 2]}', "must be positive and rise"),
        ('{"frequencies": [250, 500], "levels": [1, 200]}', "between -20 and 130"),
        ('{"frequencies": [250, 500], "levels": [1, 2], "ear": "left"}', "ear: Extra"),
    ],
)
def test_what_is_no_audiogram_is_bad_input(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        open_audiogram(str(path))


def test_metrics_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert choose_metrics(["estoi", "si-sdr", "estoi"]) == ("si-sdr", "estoi")
    assert [column.title for column in columns_of(["pesq", "dnsmos"])][:2] == [
        "PESQ-WB",
        "DNSMOS SIG",
    ]
    fields = {column.field for column in columns_of(tuple(METRICS))}
    assert fields == set(Scores.__dataclass_fields__)
    with pytest.raises(InputError, match="no metric 'STIO'") as error:
        choose_metrics(["STIO"])
    assert "Did you mean 'stoi'?" in error.value.hint
    assert set(metric_versions(tuple(METRICS))) == {"pesq", "pystoi", "speechmos", "pyclarity"}
