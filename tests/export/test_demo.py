"""The demo: what is left in its folder, what it says, and when it is not a success."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.recipe import Recipe, parse_recipe
from export.demo import Summary, finish_road, record
from export.demo_cli import demo
from export.material import Material
from runtime.artefact import GateResult
from runtime.pack import verify_pack
from runtime.profiling.profile import Profiled
from targets.command import run
from targets.errors import GateFailed

pytestmark = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)


def _recipe(pairs: Path) -> Recipe:
    """A run of one network: the student that ``run_folder`` holds."""
    return parse_recipe(
        f"{{name: t, distillation: {{method: none}}, evaluation: {{pairs: {pairs}}}}}", "test"
    )


@pytest.fixture(scope="module")
def pairs(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for number, mixture in enumerate(material.held_out):
        for part, samples in (("noisy", mixture.noisy), ("clean", mixture.clean)):
            (folder / part).mkdir(exist_ok=True)
            soundfile.write(folder / part / f"{number}.wav", samples, 16_000)
    return folder


@pytest.fixture(scope="module")
def walked(
    save_run: Callable[[Path], Path],
    material: Material,
    pairs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Summary, list[str]]:
    """The road after training, over short signals."""
    said: list[str] = []
    folder = save_run(tmp_path_factory.mktemp("demo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.pipeline.gather", lambda corpus: material)
        patch.setattr("export.verify.PARITY_FRAMES", 100)
        patch.setattr("export.demo.PROFILE_SECONDS", 0.2)
        patch.setattr("distill.evaluation.scoring.os.cpu_count", lambda: 1)
        return finish_road(_recipe(pairs), folder, 1.5, said.append), said


def test_every_part_of_the_road_is_in_the_folder(walked: tuple[Summary, list[str]]) -> None:
    summary, said = walked
    folder = summary.folder
    assert said == ["export", "evaluate", "profile", "pack", "denoise"]
    assert set(summary.seconds) == {"distil", *said}
    assert {path.name for path in folder.iterdir()} == {
        "student",
        "artefacts",
        "pack",
        "audio",
        "summary.json",
    }
    assert {path.suffix for path in (folder / "artefacts").iterdir()} == {
        ".tflite",
        ".onnx",
        ".json",
    }
    assert {gate.verdict for gate in verify_pack(folder / "pack")} == {"pass"}
    assert not summary.skipped
    assert json.loads((folder / "summary.json").read_text()) == json.loads(
        json.dumps(record(summary))
    )


def test_the_table_scores_what_ships_beside_noisy_and_float(
    walked: tuple[Summary, list[str]],
) -> None:
    noisy, float32, int8 = walked[0].rows
    assert (noisy.name, int8.name) == ("Noisy", "Student distilled, int8")
    before, ideal, shipped = (row.scores.si_sdr for row in (noisy, float32, int8))
    assert before is not None
    assert shipped is not None
    assert shipped > before
    assert shipped == pytest.approx(ideal, abs=0.5)


def test_the_files_to_listen_to_are_as_long_as_each_other_and_differ(
    walked: tuple[Summary, list[str]],
) -> None:
    audio = walked[0].audio
    assert len(audio) == 2
    for noisy, denoised in audio:
        before, rate = soundfile.read(noisy)
        after, _ = soundfile.read(denoised)
        assert rate == 16_000
        assert before.shape == after.shape
        assert np.abs(before - after).max() > 0.01


def _run_demo(
    summary: Summary, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, list[Any]]:
    """The command, training and road replaced by their outcome."""
    called: list[Any] = []
    monkeypatch.setattr("distill.cli.train_with_progress", lambda *given: called.append(given))
    monkeypatch.setattr("export.demo.finish_road", lambda *given: summary)
    return run(demo, "sordino demo", list(arguments)), called


def test_the_command_names_the_files_to_listen_to(
    walked: tuple[Summary, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    status, called = _run_demo(walked[0], monkeypatch, "-o", "there", "--threads", "1")
    output = capsys.readouterr().out
    assert status == 0
    assert called[0][0].name == "demo"
    assert called[0][1:] == (Path("there"), "auto", 1)
    for part in ("Noisy", "Student distilled, int8", "Gates:", "1-denoised.wav", "Pack:"):
        assert part in output


def test_json_is_the_summary(
    walked: tuple[Summary, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, _ = _run_demo(walked[0], monkeypatch, "--json")
    assert status == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) >= {"seconds", "quality", "artefacts", "profile", "fit", "pack", "audio"}


def test_a_gate_that_could_not_run_is_no_success(
    walked: tuple[Summary, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    skipped = GateResult(name="pack-golden", measured="not run", limit="", verdict="unavailable")
    status, _ = _run_demo(replace(walked[0], pack_gates=(skipped,)), monkeypatch)
    assert status == 3
    assert "1 gate could not run here: pack-golden" in capsys.readouterr().err


def test_a_pack_that_fails_its_own_check_ends_the_road(
    walked: tuple[Summary, list[str]],
    material: Material,
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = GateResult(name="pack-files", measured="1 altered", limit="", verdict="fail")
    monkeypatch.setattr("export.demo.export_checkpoint", lambda *given: walked[0].artefacts)
    monkeypatch.setattr("export.demo.evaluate", lambda *given: [])
    profiled = Profiled(walked[0].profile, ())
    monkeypatch.setattr("export.demo.profile_artefacts", lambda *given, **named: profiled)
    monkeypatch.setattr("export.demo.verify_pack", lambda path: [broken])
    with pytest.raises(GateFailed, match="pack-files"):
        finish_road(_recipe(pairs), walked[0].folder, 0.0, lambda part: None)
