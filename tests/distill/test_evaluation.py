"""Scoring of checkpoints and model files: beside the noisy input, item by item."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from distill.checkpoint import CheckpointRecord, save_checkpoint
from distill.cli import evaluate as evaluate_command
from distill.cli import number
from distill.evaluation import (
    Candidate,
    artefact_candidate,
    checkpoint_candidate,
    evaluate,
    open_candidate,
    report,
)
from distill.mixing import Mixture
from distill.training import enhance
from distill.unet import UNet, UNetConfig
from runtime.metrics import si_sdr
from runtime.stft import FloatArray, StftContract
from targets.errors import InputError
from tests.distill.recordings import bursts

CONTRACT = StftContract()


def mixture(seed: int) -> Mixture:
    clean = bursts(seed, 1.0)
    noise = 0.05 * np.random.default_rng(seed).standard_normal(len(clean)).astype(np.float32)
    return Mixture(clean + noise, clean, 6.0, f"speech {seed}", "white")


MIXTURES = [mixture(1), mixture(2), mixture(3)]


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting workers costs more than these scores."""
    monkeypatch.setattr("distill.evaluation.os.cpu_count", lambda: 1)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    config = UNetConfig(widths=(4, 4), hidden=6, patch=8)
    record = CheckpointRecord(
        role="student", preset="t", architecture=config, contract=CONTRACT, data="demo", recipe={}
    )
    save_checkpoint(folder / "student", UNet(config), record)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for number_, mix in enumerate(MIXTURES):
        for part, samples in (("noisy", mix.noisy), ("clean", mix.clean)):
            (folder / part).mkdir(exist_ok=True)
            soundfile.write(folder / part / f"{number_}.wav", samples, 16_000, subtype="FLOAT")
    return folder


def halved(signal: FloatArray) -> FloatArray:
    return 0.5 * signal


def test_the_noisy_row_comes_first_and_every_item_is_scored() -> None:
    oracle = dict(zip((mix.noisy.tobytes() for mix in MIXTURES), MIXTURES, strict=True))
    candidates = [
        Candidate("Halved", 1, halved),
        Candidate("Oracle", 2, lambda noisy: oracle[noisy.tobytes()].clean),
    ]
    rows = evaluate(candidates, MIXTURES, CONTRACT)
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


def test_a_candidate_of_another_length_is_an_error_and_not_a_score() -> None:
    with pytest.raises(InputError, match="Cannot score"):
        evaluate([Candidate("Short", 0, lambda noisy: noisy[:-1])], MIXTURES, CONTRACT)


def test_a_checkpoint_is_scored_by_its_network(run_folder: Path) -> None:
    candidate = open_candidate(run_folder)
    assert candidate.name == str(run_folder)
    torch.manual_seed(0)
    network = UNet(UNetConfig(widths=(4, 4), hidden=6, patch=8)).eval()
    expected = enhance(network, CONTRACT, MIXTURES[0].noisy)
    np.testing.assert_array_equal(candidate.denoise(MIXTURES[0].noisy), expected)
    assert candidate.parameters == sum(p.numel() for p in network.parameters())
    assert checkpoint_candidate(run_folder / "student", "Student").name == "Student"


def test_a_model_file_needs_its_sidecar(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(b"TFL3")
    with pytest.raises(InputError, match="no sidecar"):
        open_candidate(model)
    with pytest.raises(InputError, match="No model"):
        artefact_candidate(tmp_path / "gone.onnx", "gone")


def test_a_report_holds_items_means_and_versions() -> None:
    rows = evaluate([Candidate("Halved", 1, halved)], MIXTURES, CONTRACT)
    told = json.loads(json.dumps(report(rows)))
    assert set(told["metrics"]) == {"pesq", "pystoi"}
    assert [row["name"] for row in told["rows"]] == ["Noisy", "Halved"]
    assert all(len(row["items"]) == 3 for row in told["rows"])
    assert told["rows"][0]["mean"]["si_sdr"] == pytest.approx(rows[0].scores.si_sdr)


def test_the_command_scores_pairs(run_folder: Path, pairs: Path) -> None:
    arguments = [str(run_folder), "--pairs", str(pairs)]
    shown = CliRunner().invoke(evaluate_command, arguments, env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "Noisy" in shown.output
    assert "SI-SDR" in shown.output
    told = json.loads(CliRunner().invoke(evaluate_command, [*arguments, "--json"]).output)
    expected = np.mean([si_sdr(mix.clean, mix.noisy) for mix in MIXTURES])
    assert told["rows"][0]["mean"]["si_sdr"] == pytest.approx(expected, abs=1e-3)
    assert told["rows"][1]["name"] == str(run_folder)


def test_the_command_mixes_held_out_speech_of_the_demo_corpus(run_folder: Path) -> None:
    result = CliRunner().invoke(evaluate_command, [str(run_folder), "--items", "1", "--json"])
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.output)["rows"][1]["items"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "No model at nowhere"),
        (["RUN", "--pairs", "nowhere"], "No pairs in nowhere"),
        (["RUN", "--data", "nowhere"], "No data at nowhere"),
    ],
)
def test_what_is_missing_is_named(run_folder: Path, arguments: list[str], message: str) -> None:
    given = [str(run_folder) if argument == "RUN" else argument for argument in arguments]
    result = CliRunner().invoke(evaluate_command, given)
    assert isinstance(result.exception, InputError)
    assert message in result.exception.message


def test_what_was_not_measured_is_a_dash() -> None:
    assert number(None, 2) == "–"
    assert number(1.239, 2) == "1.24"
