"""The whole road, as `make demo` walks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demo_leads_from_nothing_to_a_pack_and_gains_four_decibels(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    command = [sys.executable, "-m", "sordino", "demo", "-o", str(run)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for part in ("control", "student", "artefacts", "pack", "audio", "summary.json"):
        assert (run / part).exists(), part
    summary = json.loads((run / "summary.json").read_text())
    rows = {row["name"]: row["mean"] for row in summary["quality"]["rows"]}
    alone, distilled = "Student alone", "Student distilled"
    assert [*rows] == ["Noisy", "Teacher", alone, distilled, f"{distilled}, int8"]
    gain = rows["Student distilled, int8"]["si_sdr"] - rows["Noisy"]["si_sdr"]
    assert gain >= 4.0, rows
    assert {gate["verdict"] for gate in summary["pack"]} == {"pass"}
    for noisy, denoised in summary["audio"]:
        assert (run / noisy).stat().st_size == (run / denoised).stat().st_size
    verify = [sys.executable, "-m", "sordino", "verify", str(run / "pack")]
    assert subprocess.run(verify, capture_output=True).returncode == 0
