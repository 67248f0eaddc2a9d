"""Gate ``c-exact`` of an export: C that is its model passes, and one altered weight is seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from export.gates.generated_c import c_exact
from runtime.artefact import Artefact, GateResult, source_files
from runtime.engines.native import find_compiler
from runtime.stepper import quantize
from runtime.verification.frames import frames_of, noise
from tests.runtime.fakes import needs_tflm
from tests.runtime.tiny_models import Format
from tests.runtime.verification.edited_models import CONTRACT, generated, made

pytestmark = [
    needs_tflm,
    pytest.mark.skipif(find_compiler() is None, reason="no C compiler"),
]


def judged(c: Artefact, origin: Artefact) -> GateResult:
    frames = frames_of(CONTRACT, noise(CONTRACT, 0.3))
    stored = quantize(frames, c.sidecar.inputs[0])
    return c_exact(source_files(c), origin.path.read_bytes(), c.sidecar, stored)


@pytest.mark.parametrize("target", ["tflite-int8", "tflite-fp32"])
def test_c_that_is_its_model(tmp_path: Path, target: Format) -> None:
    origin = made(tmp_path, target)
    assert judged(generated(origin), origin).verdict == "pass"


def test_an_altered_weight_is_found(tmp_path: Path) -> None:
    origin = made(tmp_path, "tflite-fp32")
    altered = generated(origin, lambda text: text.replace("0.25", "0.2505", 1))
    gate = judged(altered, origin)
    assert gate.verdict == "fail"
    assert "e-" in gate.measured


def test_without_a_compiler_it_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = made(tmp_path, "tflite-int8")
    c = generated(origin)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    gate = judged(c, origin)
    assert gate.verdict == "unavailable"
