"""Opening engines: damage, strangers and missing packages end in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.artefact import load_artefact, sidecar_path
from runtime.engines import ENGINES, EngineMissing, engine_from_bytes, open_engine
from runtime.engines.quiet import captured_stderr
from runtime.stft import StftContract
from targets.errors import InputError
from tests.runtime.fakes import needs_tflm
from tests.runtime.tiny_models import Kernel, model_bytes, write_artefact

CONTRACT = StftContract()
NAMES = [
    pytest.param(name, marks=needs_tflm) if name == "tflm" else name
    for name, info in ENGINES.items()
    if info.modules
]
MODELS = {
    ".onnx": model_bytes(CONTRACT, "onnx-fp32", Kernel()),
    ".tflite": model_bytes(CONTRACT, "tflite-int8", Kernel()),
}


def test_the_default_engine_follows_the_format(tmp_path: Path) -> None:
    assert open_engine(write_artefact(tmp_path, "onnx-fp32")).name == "onnxruntime"
    assert open_engine(write_artefact(tmp_path, "tflite-int8")).name == "litert"


@pytest.mark.parametrize("name", NAMES)
def test_ports_say_what_the_model_has(name: str) -> None:
    engine = engine_from_bytes(name, MODELS[ENGINES[name].suffix])
    dtype = "float32" if name == "onnxruntime" else "int8"
    assert [port.shape for port in engine.inputs] == [(1, 1, 256, 3)] * 2
    assert [port.shape for port in engine.outputs] == [(1, 1, 256, 2), (1, 1, 256, 3)]
    assert {port.dtype for port in (*engine.inputs, *engine.outputs)} == {dtype}


@pytest.mark.parametrize("name", NAMES)
def test_results_of_a_step_stay_after_the_next(name: str) -> None:
    """A view into the engine's memory would change under the caller."""
    engine = engine_from_bytes(name, MODELS[ENGINES[name].suffix])
    shape, dtype = engine.inputs[0].shape, engine.inputs[0].dtype
    first = engine.run([np.full(shape, 3, dtype), np.zeros(shape, dtype)])[1]
    kept = first.copy()
    engine.run([np.full(shape, 90, dtype), np.zeros(shape, dtype)])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"not a model", b"\x1c\x00\x00\x00TFL3"])
def test_bytes_that_are_no_model_are_refused(name: str, content: bytes) -> None:
    with pytest.raises(InputError, match="The model is no sound"):
        engine_from_bytes(name, content)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0.0, 0.999))
def test_truncated_models_never_crash(name: str, share: float) -> None:
    model = MODELS[ENGINES[name].suffix]
    with pytest.raises(InputError):
        engine_from_bytes(name, model[: int(share * len(model))])


def test_an_unknown_engine_and_one_of_another_format(tmp_path: Path) -> None:
    artefact = write_artefact(tmp_path, "onnx-fp32")
    with pytest.raises(InputError, match="No engine is called 'cuda'") as unknown:
        open_engine(artefact, "cuda")
    assert "onnxruntime, litert" in unknown.value.hint
    with pytest.raises(InputError, match=r"does not run \.onnx models") as unfit:
        open_engine(artefact, "tflm")
    assert "use onnxruntime" in unfit.value.hint


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("onnxruntime", "onnxruntime"),
        ("litert", "ai_edge_litert.interpreter"),
        ("tflm", "tflite_micro"),
    ],
)
def test_a_missing_package_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EngineMissing, match=ENGINES[name].distribution) as error:
        engine_from_bytes(name, MODELS[ENGINES[name].suffix])
    assert "pip install" in error.value.hint


def test_a_model_altered_after_it_was_loaded_is_refused(tmp_path: Path) -> None:
    artefact = write_artefact(tmp_path, "tflite-fp32")
    content = bytearray(artefact.path.read_bytes())
    content[-1] ^= 1
    artefact.path.write_bytes(content)
    with pytest.raises(InputError, match="SHA-256 differs"):
        open_engine(artefact)


def test_a_sidecar_of_another_model_is_refused(tmp_path: Path) -> None:
    artefact = write_artefact(tmp_path, "tflite-fp32")
    first, *others = artefact.sidecar.inputs
    inputs = (first.model_copy(update={"name": "spectrum"}), *others)
    renamed = artefact.sidecar.model_copy(update={"inputs": inputs})
    sidecar_path(artefact.path).write_text(renamed.model_dump_json(by_alias=True))
    with pytest.raises(InputError, match="other inputs or outputs"):
        open_engine(load_artefact(artefact.path))


@pytest.mark.parametrize("name", NAMES)
def test_opening_an_engine_is_silent(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    engine_from_bytes(name, MODELS[ENGINES[name].suffix])
    assert capfd.readouterr() == ("", "")


def test_captured_stderr_catches_c_and_lets_go(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    with captured_stderr() as captured:
        os.write(2, b"from below")
    os.write(2, b"later")
    assert captured.text == "from below"
    assert capfd.readouterr().err == "later"
