"""``doctor`` tells what is there from what is not, and imports none of it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from runtime.cli import doctor
from runtime.doctor import examine, installed_version
from tests.runtime.fakes import invoke

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_installed_has_its_version() -> None:
    found = {finding.name: finding for finding in examine()}
    assert found["soxr"].version == metadata.version("soxr")
    assert found["litert"].present
    assert {"onnxruntime", "tflm", "pesq", "torch", "gcc", "qemu-system-arm"} <= set(found)


def test_what_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.doctor.installed_version", lambda _: "")
    monkeypatch.setattr("shutil.which", lambda _: None)
    for finding in examine():
        if finding.name == "swo":  # reads files and sockets, which needs nothing
            continue
        assert not finding.present
        assert finding.version == ""
        assert finding.get.startswith(("pip install ", "sudo apt install "))


def test_any_of_several_distributions_will_do() -> None:
    assert installed_version(("no-such-package", "numpy")) == metadata.version("numpy")
    assert installed_version(("no-such-package",)) == ""


def test_a_tool_that_will_not_say_its_version_is_still_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "gcc"
    tool.write_text("#!/bin/sh\nexit 3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {finding.name: finding for finding in examine()}
    assert (found["gcc"].present, found["gcc"].version) == (True, "version unknown")
    assert not found["flite"].present


def test_the_command_prints_json_and_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(capfd, doctor, "--json")
    assert outcome.status == 0
    assert {entry["name"] for entry in json.loads(outcome.out)} >= {"litert", "gcc"}
    assert "litert" in invoke(capfd, doctor).out


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from runtime.doctor import examine; examine(); "
        "print({'torch', 'onnxruntime', 'ai_edge_litert', 'soundfile'} & set(sys.modules))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "set()"
