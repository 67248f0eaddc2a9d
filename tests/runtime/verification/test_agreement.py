"""Gates between files of one network: equal ones pass, and each planted difference is seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.artefact import Artefact, GateResult
from runtime.engines import Array, Engine, EngineMissing, open_engine
from runtime.engines.native import find_compiler
from runtime.verification import agreement
from runtime.verification.agreement import bit_exact, compared, decibels
from runtime.verification.frames import frames_of, noise
from tests.export.edited import tensor_named
from tests.runtime.fakes import needs_tflm
from tests.runtime.tiny_models import Kernel, write_artefact
from tests.runtime.verification.edited_models import (
    CONTRACT,
    generated,
    listening,
    made,
    onnx,
    tflite,
)

FRAMES = frames_of(CONTRACT, noise(CONTRACT, 0.5))
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")


def gates(*artefacts: Artefact) -> dict[str, GateResult]:
    return {gate.name: gate for gate in compared(artefacts, FRAMES, lambda stage, done: None)}


def called(artefact: Artefact, target: str) -> Artefact:
    """The same file under the name of another format."""
    sidecar = artefact.sidecar.model_copy(update={"target": target})
    return artefact.model_copy(update={"sidecar": sidecar})


# --- parity of float files ------------------------------------------------------------------------


def test_float_files_of_one_network_agree(tmp_path: Path) -> None:
    found = gates(made(tmp_path, "tflite-fp32"), made(tmp_path, "onnx-fp32"))
    assert found["parity"].verdict == "pass"
    assert "onnx-fp32" in found["parity"].measured


def test_parity_sees_another_weight(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        from onnx import numpy_helper

        values = numpy_helper.to_array(model.graph.initializer[0]).copy()
        values[0, 0, 1, 0] += 1e-3
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "weight"))

    gate = gates(made(tmp_path, "tflite-fp32"), onnx(tmp_path, edit))["parity"]
    assert gate.verdict == "fail"
    assert "onnx-fp32 differs" in gate.measured
    assert "the way from them to the mask" in gate.likely


@needs_compiler
def test_parity_sees_c_with_one_altered_weight(tmp_path: Path) -> None:
    origin = made(tmp_path, "tflite-fp32")
    sound = gates(origin, generated(origin))
    assert sound["parity"].verdict == "pass"
    (tmp_path / "altered").mkdir()
    other = made(tmp_path / "altered", "tflite-fp32")
    spoilt = generated(other, lambda text: text.replace("0.25", "0.251", 1))
    assert gates(origin, spoilt)["parity"].verdict == "fail"


# --- twins: the same integers ---------------------------------------------------------------------


@needs_compiler
def test_c_equals_its_file(tmp_path: Path) -> None:
    origin = made(tmp_path, "tflite-int8")
    assert gates(origin, generated(origin))["twins (c-int8)"].verdict == "pass"


@needs_compiler
def test_twins_see_c_of_another_weight(tmp_path: Path) -> None:
    """One weight altered by two steps."""

    def edit(model: Any) -> None:
        buffer = model.buffers[tensor_named(model, "mask_weight").buffer]
        values = np.frombuffer(bytes(buffer.data), np.int8).copy()
        values[0] += 2
        buffer.data = values.view(np.uint8)

    (tmp_path / "other").mkdir()
    other = generated(tflite(tmp_path / "other", edit))
    gate = gates(made(tmp_path, "tflite-int8"), other)["twins (c-int8)"]
    assert gate.verdict == "fail"
    assert "LSB, first in frame" in gate.measured
    assert "rounds differently" in gate.likely


class _Rounding:
    """An engine whose mask is one step off from the fifth frame on."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._frames = engine, 0
        self.name, self.inputs, self.outputs = engine.name, engine.inputs, engine.outputs

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        outputs = self._engine.run(inputs)
        self._frames += 1
        if self._frames > 5:
            outputs[0] = outputs[0] ^ np.int8(1)
        return outputs


@needs_tflm
def test_bit_exact_sees_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact = made(tmp_path, "tflite-int8")
    assert bit_exact(artefact, FRAMES).verdict == "pass"

    def rounding(one: Artefact, name: str) -> Engine:
        engine = open_engine(one, name)
        return _Rounding(engine) if name == "tflm" else engine

    monkeypatch.setattr(agreement, "open_engine", rounding)
    gate = bit_exact(artefact, FRAMES)
    assert gate.verdict == "fail"
    assert "1 LSB, first in frame 5 in mask" in gate.measured
    assert "recurrence carries it on" in gate.likely


def test_a_kernel_that_is_missing_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(one: Artefact, name: str | None = None) -> Engine:
        raise EngineMissing("No TFLM here.", hint="Get it.")

    monkeypatch.setattr(agreement, "open_engine", missing)
    artefact = made(tmp_path, "tflite-int8")
    assert bit_exact(artefact, FRAMES).verdict == "unavailable"
    assert [gate.verdict for gate in gates(artefact).values()] == ["unavailable"]


# --- SNR: what only rounds ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "gain", "verdict"),
    [
        ("tflite-fp16", 1.0005, "pass"),
        ("tflite-fp16", 1.05, "fail"),
        ("tflite-int8w", 1.005, "pass"),
        ("tflite-int8w", 1.2, "fail"),
    ],
)
def test_snr_sees_what_is_more_than_rounding(
    tmp_path: Path, target: str, gain: float, verdict: str
) -> None:
    (tmp_path / "rounded").mkdir()
    kernel = listening()
    other = write_artefact(
        tmp_path / "rounded",
        "tflite-fp32",
        Kernel((0.3 * gain, 0.0), gain * kernel.weight),
        CONTRACT,
    )
    gate = gates(made(tmp_path, "tflite-fp32"), called(other, target))[f"snr ({target})"]
    assert gate.verdict == verdict
    assert ("clips peaks" in gate.likely) == (verdict == "fail")


def test_twins_see_an_onnx_file_of_other_scales(tmp_path: Path) -> None:
    """Two models whose biases differ."""
    whole = made(tmp_path, "tflite-int8")
    like = called(made(tmp_path, "onnx-fp32"), "onnx-int8")
    assert gates(whole, like)["twins (onnx-int8)"].verdict == "pass"
    (tmp_path / "clipped").mkdir()
    clipped = write_artefact(
        tmp_path / "clipped", "onnx-fp32", Kernel((0.2, 0.0), listening().weight), CONTRACT
    )
    assert gates(whole, called(clipped, "onnx-int8"))["twins (onnx-int8)"].verdict == "fail"


def test_decibels() -> None:
    ones = np.ones(100, np.float32)
    assert decibels(ones, ones * np.float32(1.1)) == pytest.approx(20.0, abs=1e-3)
    assert decibels(ones, ones * np.float32(np.nan)) == -np.inf


def test_what_has_no_partner_is_not_compared(tmp_path: Path) -> None:
    assert gates(made(tmp_path, "tflite-int8")) == {}
