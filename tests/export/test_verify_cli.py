"""``verify`` turns gate results into a table and an exit status."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from export.verify_cli import verify
from runtime import pack
from runtime.artefact import GateResult
from runtime.stft import StftContract
from tests.runtime.fakes import Outcome, invoke
from tests.runtime.tiny_models import write_artefact

LONG = "one that is longer than any column of a table of eighty characters may well be"
Verdict = Literal["pass", "fail", "unavailable"]


def verified(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    verdicts: list[Verdict],
    *options: str,
) -> Outcome:
    gates = [
        GateResult(name=f"gate-{index}", measured="1 [x]", limit=LONG, verdict=verdict)
        for index, verdict in enumerate(verdicts)
    ]
    monkeypatch.setattr(pack, "is_pack", lambda _: True)
    monkeypatch.setattr(pack, "verify_pack", lambda _: gates)
    return invoke(capfd, verify, Path(__file__).parent, *options)


def test_all_passed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = verified(monkeypatch, capfd, ["pass", "pass"])
    assert outcome.status == 0
    assert "gate-1" in outcome.out
    assert "1 [x]" in outcome.out


def test_one_failed_beats_one_that_could_not_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = verified(monkeypatch, capfd, ["pass", "unavailable", "fail"])
    assert outcome.status == 1
    assert "did not pass: gate-2" in outcome.err


@pytest.mark.parametrize("verdicts", [["pass", "unavailable"], []])
def test_a_gate_that_could_not_run_is_no_pass(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], verdicts: list[Verdict]
) -> None:
    outcome = verified(monkeypatch, capfd, verdicts)
    assert outcome.status == 3
    assert all(len(line) <= 80 for line in outcome.out.splitlines())
    assert "could be checked" in outcome.err


def test_json_is_printed_even_when_a_gate_failed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = verified(monkeypatch, capfd, ["fail"], "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out)[0]["verdict"] == "fail"


def test_what_explains_a_failure_stands_beside_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = GateResult(
        name="drift", measured="9%", limit="5%", verdict="fail", detail="gru", likely="a leak"
    )
    monkeypatch.setattr(pack, "is_pack", lambda _: True)
    monkeypatch.setattr(pack, "verify_pack", lambda _: [gate])
    outcome = invoke(capfd, verify, Path(__file__).parent)
    assert "gru; likely: a leak" in outcome.out.replace("\n", " ").replace("│", "").replace(
        "  ", ""
    )


# --- what there is to verify ----------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_artefact(tmp_path, contract=StftContract(bins=64)).path


def no_folder(model: Path) -> Path:
    return model.with_name("gone")


def an_empty_folder(model: Path) -> Path:
    (model.parent / "empty").mkdir()
    return model.parent / "empty"


def no_sidecar(model: Path) -> Path:
    model.with_suffix(".json").unlink()
    return model


def a_zip_of_something_else(model: Path) -> Path:
    path = model.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme", "")
    return path


def damaged(model: Path) -> Path:
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    return model


def another_sidecar(model: Path) -> Path:
    model.with_suffix(".json").write_text("{}")
    return model.parent


@pytest.mark.parametrize(
    ("prepare", "status", "sentence"),
    [
        (no_folder, 2, "There is nothing at"),
        (an_empty_folder, 2, "There is no model in"),
        (no_sidecar, 2, "has no sidecar"),
        (a_zip_of_something_else, 2, "is not a pack"),
        (damaged, 1, "did not pass: sound."),
        (another_sidecar, 1, "did not pass: sound."),
    ],
)
def test_what_cannot_be_verified(
    model: Path,
    capfd: pytest.CaptureFixture[str],
    prepare: Callable[[Path], Path],
    status: int,
    sentence: str,
) -> None:
    outcome = invoke(capfd, verify, prepare(model), "--minutes", "0")
    assert outcome.status == status
    first, hint = outcome.err.splitlines()
    assert first.startswith("Error: ")
    assert sentence in first
    assert hint.startswith("Hint: ")


def test_a_damaged_model_does_not_hide_the_others(
    model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_artefact(model.parent, "onnx-fp32", contract=StftContract(bins=64))
    damaged(model)
    outcome = invoke(capfd, verify, model.parent, "--minutes", "0", "--json")
    assert outcome.status == 1
    verdicts = {
        gate["subject"]: gate["verdict"]
        for gate in json.loads(outcome.out)
        if gate["name"] == "sound"
    }
    assert verdicts == {model.stem: "fail", "tiny": "pass"}


def test_a_witness_needs_the_run(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capfd, verify, model, "--witness", "tensorflow")
    assert outcome.status == 2
    assert "--run" in outcome.err


def test_a_pack_takes_no_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pack.zip"
    path.touch()
    outcome = invoke(capfd, verify, path, "--run", tmp_path)
    assert outcome.status == 2
    assert "by itself" in outcome.err
