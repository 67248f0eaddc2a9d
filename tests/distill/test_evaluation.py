"""Scoring of checkpoints, model files and recordings: beside the noisy input, item by item."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from distill.checkpoint import CheckpointRecord, save_checkpoint
from distill.cli import number
from distill.evaluation import (
    Candidate,
    Recordings,
    artefact_candidate,
    checkpoint_candidate,
    evaluate,
    open_candidate,
    open_candidates,
    report,
)
from distill.mixing import Mixture
from distill.training import enhance
from distill.unet import UNet, UNetConfig
from runtime.metrics import si_sdr
from runtime.stft import FloatArray, StftContract
from targets.errors import InputError
from tests.distill.pairs import MIXTURES, write_pairs

CONTRACT = StftContract()
CONFIG = UNetConfig(widths=(4, 4), hidden=6, patch=8)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_tiny(folder / "student", role="student")
    return folder


def save_tiny(folder: Path, **changes: object) -> None:
    torch.manual_seed(0)
    record = {
        "role": "student",
        "preset": "t",
        "architecture": CONFIG,
        "contract": CONTRACT,
        "data": "demo",
        "recipe": {},
        **changes,
    }
    save_checkpoint(folder, UNet(CONFIG), CheckpointRecord.model_validate(record))


def halved(signal: FloatArray) -> FloatArray:
    return 0.5 * signal


def test_the_noisy_row_comes_first_and_every_item_is_scored() -> None:
    oracle = dict(zip((mix.noisy.tobytes() for mix in MIXTURES), MIXTURES, strict=True))
    candidates = [
        Candidate("Halved", 1, halved),
        Candidate("Oracle", 2, lambda noisy: oracle[noisy.tobytes()].clean),
    ]
    heard: list[tuple[int, int]] = []
    rows = evaluate(
        candidates, MIXTURES, CONTRACT, workers=1, progress=lambda *now: heard.append(now)
    )
    assert [(row.name, row.parameters) for row in rows] == [
        ("Noisy", None),
        ("Halved", 1),
        ("Oracle", 2),
    ]
    noisy, half, perfect = rows
    for row, mix in zip(noisy.items, MIXTURES, strict=True):
        assert row.si_sdr == pytest.approx(si_sdr(mix.clean, mix.noisy))
    assert half.scores.si_sdr == pytest.approx(noisy.scores.si_sdr, abs=1e-4)  # scale-invariant
    assert perfect.scores.si_sdr == 100.0
    assert noisy.scores.si_sdr == pytest.approx(
        np.mean([item.si_sdr for item in noisy.items if item.si_sdr is not None])
    )
    assert heard == [(done, 9) for done in range(1, 10)]


def test_only_the_metrics_that_were_asked_for_are_computed() -> None:
    rows = evaluate([], MIXTURES, CONTRACT, workers=1, metrics=("si-sdr",))
    assert rows[0].scores.si_sdr is not None
    assert rows[0].scores.stoi is None
    told = report(rows)
    assert told["metrics"] == {}
    assert json.loads(json.dumps(told))["rows"][0]["items"][0].keys() == {"si_sdr"}


def test_a_candidate_of_another_length_is_an_error_and_not_a_score() -> None:
    short = Candidate("Short", 0, lambda noisy: noisy[:-1])
    with pytest.raises(InputError, match="Cannot score"):
        evaluate([short], MIXTURES, CONTRACT, workers=1)


def test_a_checkpoint_is_scored_by_its_network(run_folder: Path) -> None:
    candidate = open_candidate(run_folder)
    assert candidate.name == str(run_folder)
    torch.manual_seed(0)
    network = UNet(CONFIG).eval()
    expected = enhance(network, CONTRACT, MIXTURES[0].noisy)
    np.testing.assert_array_equal(candidate.denoise(MIXTURES[0].noisy), expected)
    assert candidate.parameters == sum(p.numel() for p in network.parameters())
    assert checkpoint_candidate(run_folder / "student", "Student").name == "Student"


def test_a_run_stands_for_its_networks_in_the_order_they_were_made(tmp_path: Path) -> None:
    for name in ("student", "teacher", "control", "another"):
        save_tiny(tmp_path / name)
    names = [Path(one.name).name for one in open_candidates(tmp_path)]
    assert names == ["teacher", "control", "student", "another"]
    assert [one.name for one in open_candidates(tmp_path / "control")] == [
        str(tmp_path / "control")
    ]


def test_a_network_at_another_rate_is_refused(tmp_path: Path) -> None:
    save_tiny(tmp_path, contract=CONTRACT.model_copy(update={"sample_rate": 8000}))
    with pytest.raises(InputError, match="works at 8000 Hz"):
        open_candidates(tmp_path)


def test_a_model_file_needs_its_sidecar(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"TFL3")
    with pytest.raises(InputError, match="no sidecar"):
        open_candidate(model)
    with pytest.raises(InputError, match="No model"):
        artefact_candidate(tmp_path / "gone.onnx", "gone")
    with pytest.raises(InputError, match="Nothing to score"):
        open_candidates(tmp_path)


def test_recordings_are_found_by_the_name_of_their_pair(tmp_path: Path) -> None:
    names = [mix.speech for mix in MIXTURES]
    for mix in MIXTURES:
        soundfile.write(tmp_path / f"{mix.speech}.wav", mix.clean, 16_000, subtype="FLOAT")
    (only,) = open_candidates(tmp_path, None, names)
    assert isinstance(only, Recordings)
    assert only.name == str(tmp_path)
    np.testing.assert_array_equal(only.estimate(MIXTURES[1]), MIXTURES[1].clean)
    rows = evaluate([only], MIXTURES, CONTRACT, workers=1, metrics=("si-sdr",))
    assert rows[1].scores.si_sdr == 100.0


def test_recordings_that_do_not_fit_are_named(tmp_path: Path) -> None:
    names = [mix.speech for mix in MIXTURES]
    with pytest.raises(InputError, match="Nothing to score"):
        open_candidates(tmp_path, None, names)
    first: Mixture = MIXTURES[0]
    file = tmp_path / f"{first.speech}.wav"
    soundfile.write(file, first.clean[:-5], 16_000)
    with pytest.raises(InputError, match=f"lacks 2 of 3 pairs, the first is {names[1]}"):
        open_candidates(tmp_path, None, names)
    with pytest.raises(InputError, match="no references"):
        open_candidates(tmp_path, None, None)
    (only,) = open_candidates(tmp_path, None, names[:1])
    with pytest.raises(InputError, match=r"has 15995 samples, its pair 16000"):
        only.estimate(first)
    soundfile.write(file, first.clean, 8_000)
    with pytest.raises(InputError, match="8000 Hz"):
        only.estimate(first)
    soundfile.write(file, np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match="not numbers"):
        only.estimate(first)
    file.write_bytes(b"RIFFnothing")
    with pytest.raises(InputError, match="cannot be read"):
        only.estimate(first)


def test_pairs_are_no_recordings(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    with pytest.raises(InputError, match="holds pairs"):
        open_candidates(tmp_path, None, ["0"])


def test_a_report_holds_items_means_and_versions() -> None:
    rows = evaluate([Candidate("Halved", 1, halved)], MIXTURES, CONTRACT, workers=1)
    told = json.loads(json.dumps(report(rows)))
    assert set(told["metrics"]) == {"pesq", "pystoi"}
    assert [row["name"] for row in told["rows"]] == ["Noisy", "Halved"]
    assert all(len(row["items"]) == 3 for row in told["rows"])
    assert told["rows"][0]["mean"]["si_sdr"] == pytest.approx(rows[0].scores.si_sdr)


def test_what_was_not_measured_is_a_dash() -> None:
    assert number(None, 2) == "–"
    assert number(1.239, 2) == "1.24"
