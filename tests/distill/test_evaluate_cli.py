"""The evaluate command: tables, JSON, groups, what it refuses, and any number of workers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from distill.evaluate_cli import evaluate
from distill.fingerprint_cache import decode_clip
from distill.levels import active_power, mean_power
from distill.manifest import manifest_clips, scan
from runtime.metrics import si_sdr
from targets.errors import GateUnavailable, InputError
from tests.distill.pairs import MIXTURES, write_pairs
from tests.distill.recordings import bursts, write
from tests.distill.test_evaluation import save_tiny

QUICK = ["--metrics", "si-sdr", "--workers", "1"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers and three noises, scanned."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(5)
    for number in range(3):
        write(folder / f"speech/voice{number}/a.wav", bursts(50 + number, 4.0))
        noise = 0.1 * rng.standard_normal(64_000).astype(np.float32)
        write(folder / f"noise/kind{number}/b.wav", noise)
    scan(folder / "speech", folder / "noise", folder / "manifest.json")
    return folder / "manifest.json"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, manifest: Path) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_tiny(folder / "student", role="student", data=str(manifest))
    save_tiny(folder / "teacher", role="teacher", data=str(manifest))
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def called(*arguments: str | Path, width: int = 120) -> Result:
    given = [str(argument) for argument in arguments]
    return CliRunner().invoke(evaluate, given, env={"COLUMNS": str(width)})


def refused(*arguments: str | Path) -> str:
    result = called(*arguments)
    assert isinstance(result.exception, InputError), result.output
    return f"{result.exception.message} {result.exception.hint}"


def test_it_scores_a_run_on_pairs(run_folder: Path, pairs: Path) -> None:
    shown = called(run_folder, "--pairs", pairs, *QUICK)
    assert shown.exit_code == 0, shown.output
    for expected in ("Noisy", "SI-SDR", "Differences to Noisy", "2000 resamples, seed 0"):
        assert expected in shown.output
    assert "Leakage checked" in shown.output
    told = json.loads(called(run_folder, "--pairs", pairs, *QUICK, "--json").output)
    expected_mean = np.mean([si_sdr(mix.clean, mix.noisy) for mix in MIXTURES])
    assert told["rows"][0]["mean"]["si_sdr"] == pytest.approx(expected_mean, abs=1e-3)
    assert [Path(row["name"]).name for row in told["rows"][1:]] == ["teacher", "student"]
    noisy = told["overall"]["rows"][0]["si_sdr"]
    assert noisy["low"] <= noisy["mean"] <= noisy["high"]
    assert told["bootstrap"] == {
        "method": "percentile, over items",
        "resamples": 2000,
        "confidence": 0.95,
        "seed": 0,
    }
    assert [one["state"] for one in told["leakage"]] == ["passed", "passed"]
    ratio = active_power(MIXTURES[0].clean) / mean_power(MIXTURES[0].noisy - MIXTURES[0].clean)
    assert told["items"][0]["snr_db"] == pytest.approx(10 * np.log10(ratio), abs=1e-3)
    assert told["by_noise"][0]["group"] == "unknown"


def test_a_narrow_terminal_gets_more_tables(run_folder: Path, pairs: Path) -> None:
    shown = called(
        run_folder / "student", "--pairs", pairs, "--metrics", "si-sdr,stoi,estoi,pesq",
        "--workers", "1", "--by", "snr", width=60,
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert max(len(line) for line in shown.output.splitlines()) <= 60
    assert all(name in shown.output for name in ("SI-SDR dB", "PESQ-WB", "ESTOI", "By signal"))


def test_it_scores_recordings_denoised_elsewhere(
    tmp_path: Path, pairs: Path, manifest: Path
) -> None:
    for mix in MIXTURES:
        soundfile.write(tmp_path / f"{mix.speech}.flac", mix.clean, 16_000)
    shown = called(tmp_path, "--pairs", pairs, *QUICK)
    assert shown.exit_code == 0, shown.output
    assert "Leakage cannot be checked" in shown.output
    known = called(tmp_path, "--pairs", pairs, *QUICK, "--trained-on", manifest)
    assert "Leakage checked" in known.output


def test_it_mixes_the_held_out_speech_of_a_corpus(tmp_path: Path) -> None:
    save_tiny(tmp_path, data="demo")
    result = called(tmp_path, "--items", "5", "--seconds", "1", *QUICK, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert [item["snr_db"] for item in told["items"]] == [-5.0, 0.0, 5.0, 10.0, 15.0]
    assert len({item["noise"] for item in told["items"]}) == 5
    assert told["leakage"][0]["state"] == "passed"


def test_data_that_is_gone_is_told_and_not_passed(tmp_path: Path, pairs: Path) -> None:
    save_tiny(tmp_path, data="no/such/corpus", provenance={"corpus_sha256": "00", "corpus": "x"})
    result = called(tmp_path, "--pairs", pairs, *QUICK)
    assert isinstance(result.exception, GateUnavailable)
    assert result.exception.exit_code == 3
    assert "--trained-on" in result.exception.hint
    assert "Leakage NOT CHECKED" in result.output
    assert "SI-SDR" in result.output


def test_a_training_clip_in_the_pairs_is_refused(
    run_folder: Path, tmp_path: Path, manifest: Path
) -> None:
    write_pairs(tmp_path)
    clip = next(c for c in manifest_clips(manifest) if (c.kind, c.split) == ("speech", "train"))
    heard = decode_clip(clip)[8_000:48_000]
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(heard)).astype(np.float32)
    for part, samples in (("clean", heard), ("noisy", heard + noise)):
        soundfile.write(tmp_path / part / "planted.ogg", 0.5 * samples, 16_000)
    message = refused(run_folder, "--pairs", tmp_path, *QUICK)
    assert f"planted (speech) sounds like {clip.name} from 0.5 s" in message
    assert "Test on other speakers" in message


def test_what_is_wrong_is_named(run_folder: Path, pairs: Path, tmp_path: Path) -> None:
    student = run_folder / "student"
    both = ["--pairs", str(pairs)]
    assert "No model at nowhere" in refused("nowhere")
    assert "No pairs in nowhere" in refused(student, "--pairs", "nowhere")
    assert "No data at nowhere" in refused(student, "--data", "nowhere")
    assert "Nothing to score" in refused(tmp_path, *both)
    assert "exclude each other" in refused(student, *both, "--data", "demo")
    assert "for mixtures of --data" in refused(student, *both, "--items", "3")
    assert "Did you mean 'pesq'" in refused(student, *both, "--metrics", "si-sdr,pesk")
    assert "No metric was named" in refused(student, *both, "--metrics", ",")
    assert "Add --audiogram" in refused(student, *both, "--metrics", "haspi")
    assert "Did you mean N3" in refused(student, *both, "--audiogram", "N33")
    assert "is named twice" in refused(student, student, *both)
    assert "holds pairs" in refused(pairs, *both)


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_report(run_folder: Path, pairs: Path) -> None:
    reports = []
    for workers in ("1", "2", "3"):
        result = called(
            run_folder / "student", "--pairs", pairs, "--workers", workers, "--json",
            "--audiogram", "S2",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.output))
    assert reports[0] == reports[1] == reports[2]
