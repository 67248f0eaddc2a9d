"""``verify`` turns gate results into a table and an exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

from export.verify_cli import verify
from runtime import pack
from runtime.artefact import GateResult
from tests.runtime.fakes import Outcome, invoke

Verdict = Literal["pass", "fail", "unavailable"]


def verified(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    verdicts: list[Verdict],
    *options: str,
) -> Outcome:
    gates = [
        GateResult(name=f"gate-{index}", measured="1 [x]", limit="2", verdict=verdict)
        for index, verdict in enumerate(verdicts)
    ]
    monkeypatch.setattr(pack, "verify_pack", lambda _: gates)
    return invoke(capfd, verify, Path("some-pack"), *options)


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
    assert "could be checked" in outcome.err


def test_json_is_printed_even_when_a_gate_failed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = verified(monkeypatch, capfd, ["fail"], "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out)[0]["verdict"] == "fail"


def test_a_path_that_is_no_pack(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capfd, verify, tmp_path / "gone")
    assert outcome.status == 2
    assert outcome.err.startswith("Error: ")
