"""The export command: what it prints, what it writes, and its exit statuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from export.cli import export
from export.material import Material
from runtime.artefact import load_artefact
from runtime.engines import engine_from_bytes, missing
from targets.command import run

pytestmark = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)


@dataclass(frozen=True)
class Result:
    status: int
    output: str
    errors: str


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(
    material: Material,
    short_probe: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Invoke:
    """Runs the command on the test signals in place of a corpus."""
    monkeypatch.setattr("export.pipeline.gather", lambda corpus: material)
    monkeypatch.setattr("export.pipeline.open_corpus", lambda data: None)

    def call(*arguments: object) -> Result:
        status = run(export, "sordino export", [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return call


def test_exports_int8_to_the_run_by_default(invoke: Invoke, run_folder: Path) -> None:
    result = invoke(run_folder)
    assert result.status == 0, result.errors
    model = run_folder / "artefacts" / "student-tflite-int8.tflite"
    assert load_artefact(model).sidecar.target == "tflite-int8"
    assert sorted(path.name for path in model.parent.iterdir()) == [
        "student-tflite-int8.json",
        "student-tflite-int8.tflite",
    ]
    assert "bit-exact" in result.output


def test_several_targets_and_json(invoke: Invoke, run_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "elsewhere"
    targets = ("--target", "tflite-fp32", "--target", "tflite-int8")
    result = invoke(run_folder, *targets, "-o", output, "--json")
    assert result.status == 0, result.errors
    records = json.loads(result.output)["artefacts"]
    assert [record["target"] for record in records] == ["tflite-fp32", "tflite-int8"]
    assert all(Path(record["path"]).parent == output for record in records)
    assert {gate["verdict"] for record in records for gate in record["gates"]} == {"pass"}


def test_a_failed_gate_is_shown_and_exits_with_1(invoke: Invoke, poor_run_folder: Path) -> None:
    result = invoke(poor_run_folder, "--json")
    assert result.status == 1
    assert json.loads(result.output)["artefacts"][0]["path"] is None
    assert "Error: The export was rejected. quantized-versus-float" in result.errors
    assert not (poor_run_folder / "artefacts").exists()


def test_a_gate_that_could_not_run_exits_with_3_and_keeps_the_artefact(
    invoke: Invoke, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_tflm(name: str, model: bytes) -> Any:
        if name == "tflm":
            raise missing(name)
        return engine_from_bytes(name, model)

    monkeypatch.setattr("export.gates.bit_exact.engine_from_bytes", without_tflm)
    result = invoke(run_folder)
    assert result.status == 3
    assert "bit-exact" in result.errors
    model = load_artefact(run_folder / "artefacts" / "student-tflite-int8.tflite")
    verdicts = {gate.name: gate.verdict for gate in model.sidecar.gates}
    assert verdicts["bit-exact"] == "unavailable"


def test_bad_input_exits_with_2(invoke: Invoke, run_folder: Path, tmp_path: Path) -> None:
    unknown = invoke(run_folder, "--target", "tflite-int16")
    assert unknown.status == 2
    assert "Did you mean 'tflite-int16x8'?" in unknown.errors
    assert "sordino targets" in unknown.errors
    missing_run = invoke(tmp_path / "nothing")
    assert missing_run.status == 2
    assert "No checkpoint" in missing_run.errors
    (run_folder / "student" / "weights.safetensors").write_bytes(b"short")
    damaged = invoke(run_folder)
    assert damaged.status == 2
    assert "damaged" in damaged.errors


def test_ctrl_c_leaves_earlier_artefacts_alone(
    invoke: Invoke, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke(run_folder).status == 0
    folder = run_folder / "artefacts"
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("export.judging.float_quality", interrupted)
    assert invoke(run_folder).status == 130
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
