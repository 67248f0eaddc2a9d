from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.checkpoint import Checkpoint, load_checkpoint
from export.formats import FORMATS, wanted
from export.gates.fidelity import quantized_versus_float
from export.judging import Verified
from export.material import Material
from export.pipeline import (
    ExportRejected,
    export_checkpoint,
    unavailable_gates,
    verified_models,
    write_artefacts,
)
from export.quality import Comparison, snr_db
from export.quantization import HIDDEN
from export.trained import of_checkpoint
from runtime.artefact import GateResult, Sidecar, load_artefact
from runtime.denoiser import denoise_signal
from runtime.engines import engine_names
from runtime.metrics import Scores
from runtime.publish import check_writable, publish
from targets.errors import InputError

pytestmark = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)


def _silent(stage: str, fraction: float) -> None:
    pass


@pytest.fixture(autouse=True)
def _short_probe(short_probe: None) -> None:
    pass


@pytest.fixture(scope="module")
def verified(
    save_run: Callable[[Path], Path], material: Material, tmp_path_factory: pytest.TempPathFactory
) -> list[Verified]:
    checkpoint = load_checkpoint(save_run(tmp_path_factory.mktemp("verified")))
    return verified_models(
        of_checkpoint(checkpoint), ["tflite-int8", "tflite-fp32"], material, _silent
    )


@pytest.mark.slow
def test_all_formats_pass_their_gates_and_denoise_alike(
    run_folder: Path, material: Material, tmp_path: Path
) -> None:
    stages: list[float] = []
    checkpoint = load_checkpoint(run_folder)
    models = verified_models(
        of_checkpoint(checkpoint), FORMATS, material, lambda stage, done: stages.append(done)
    )
    artefacts = write_artefacts(models, tmp_path / "out")
    assert stages == sorted(stages)
    assert not unavailable_gates(artefacts)
    noisy = material.held_out[0].noisy
    denoised = {}
    for artefact in artefacts:
        opened = load_artefact(artefact.path)
        assert opened.sidecar == artefact.sidecar
        assert {gate.verdict for gate in opened.sidecar.gates} == {"pass"}
        for engine in engine_names(opened):
            denoised[opened.sidecar.target, engine] = denoise_signal(opened, engine, noisy)
    reference = denoised["tflite-fp32", "litert"]
    np.testing.assert_allclose(denoised["onnx-fp32", "onnxruntime"], reference, atol=1e-5)
    int8 = denoised["tflite-int8", "tflm"]
    np.testing.assert_array_equal(int8, denoised["tflite-int8", "litert-reference"])
    assert snr_db(reference, int8) > 20.0


def test_the_sidecar_says_what_the_file_is(verified: list[Verified]) -> None:
    int8, float32 = (model.sidecar for model in verified)
    assert int8.name == "student-tflite-int8"
    assert int8.model.file == "student-tflite-int8.tflite"
    assert [spec.dtype for spec in (*int8.inputs, *int8.outputs)] == ["int8"] * 8
    assert int8.inputs[3].scale == HIDDEN.scale
    assert int8.quantization["calibration_frames"] == 8 * 64
    assert len(str(int8.quantization["calibration_sha256"])) == 64
    assert set(int8.scores) == {"noisy", "float", "int8"}
    assert int8.scores["int8"]["si_sdr"] > int8.scores["noisy"]["si_sdr"]
    assert int8.provenance["recipe_sha256"] == "1" * 64
    assert int8.provenance["export_data_synthetic"] == "yes"
    assert "CC0-1.0" in int8.provenance["export_data_licences"]
    assert int8.operators["CONV_2D"] == float32.operators["CONV_2D"]
    assert float32.quantization == {}
    assert set(float32.scores) == {"noisy", "float"}
    assert {spec.scale for spec in float32.inputs} == {None}
    assert [state.name for state in float32.states] == ["encoder1", "encoder2", "gru"]


def test_the_same_checkpoint_gives_the_same_bytes(
    run_folder: Path, material: Material, verified: list[Verified]
) -> None:
    again = verified_models(
        of_checkpoint(load_checkpoint(run_folder)), ["tflite-int8"], material, _silent
    )
    assert again[0].emitted.content == verified[0].emitted.content
    without_gates = (m.sidecar.model_copy(update={"gates": ()}) for m in (again[0], verified[0]))
    assert len(set(map(Sidecar.model_dump_json, without_gates))) == 1


def test_a_rejected_export_writes_nothing_and_says_why(
    poor_run_folder: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.pipeline.gather", lambda corpus: material)
    monkeypatch.setattr("export.pipeline.open_corpus", lambda data: None)
    output = tmp_path / "artefacts"
    with pytest.raises(ExportRejected, match="quantized-versus-float") as caught:
        export_checkpoint(load_checkpoint(poor_run_folder), ["tflite-int8"], output)
    assert caught.value.exit_code == 1
    assert not output.exists()
    verdicts = {gate.name: gate.verdict for gate in caught.value.sidecars[0].gates}
    assert verdicts.pop("quantized-versus-float") == "fail"
    assert set(verdicts.values()) == {"pass"}


def test_the_default_corpus_is_the_checkpoint_s(
    run_folder: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr("export.pipeline.open_corpus", opened.append)
    monkeypatch.setattr("export.pipeline.gather", lambda corpus: material)
    for data in (None, "other"):
        export_checkpoint(load_checkpoint(run_folder), ["tflite-fp32"], tmp_path, data)
    assert opened == ["demo", "other"]


def _with_provenance(checkpoint: Checkpoint, data: str, **provenance: str) -> Checkpoint:
    changes = {"data": data, "provenance": provenance}
    return replace(checkpoint, record=checkpoint.record.model_copy(update=changes))


def test_training_data_that_is_gone_asks_for_data(run_folder: Path, tmp_path: Path) -> None:
    moved = _with_provenance(load_checkpoint(run_folder), "gone/manifest.json")
    with pytest.raises(InputError, match=r"training data of .* No data at gone") as caught:
        export_checkpoint(moved, ["tflite-fp32"], tmp_path / "out")
    assert "--data" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_training_data_that_was_split_anew_is_refused(run_folder: Path, tmp_path: Path) -> None:
    changed = _with_provenance(load_checkpoint(run_folder), "demo", corpus_sha256="0" * 64)
    with pytest.raises(InputError, match="not those that"):
        export_checkpoint(changed, ["tflite-fp32"], tmp_path / "out")


def test_an_unknown_target_names_the_known_ones(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tflite-int9") as caught:
        export_checkpoint(load_checkpoint(run_folder), ["tflite-int9"], tmp_path)
    assert "Did you mean 'tflite-int8'?" in caught.value.hint
    assert all(name in caught.value.hint for name in FORMATS)


def test_targets_are_taken_once_and_at_least_one_is_needed() -> None:
    assert wanted(["onnx-fp32", "tflite-int8", "onnx-fp32"]).formats == ("onnx-fp32", "tflite-int8")
    with pytest.raises(InputError, match="No export target"):
        wanted([])


def test_a_contract_that_does_not_fit_is_refused(run_folder: Path, material: Material) -> None:
    checkpoint = load_checkpoint(run_folder)
    contract = checkpoint.record.contract.model_copy(update={"bins": 128})
    record = checkpoint.record.model_copy(update={"contract": contract})
    trained = of_checkpoint(replace(checkpoint, record=record))
    with pytest.raises(InputError, match="does not fit"):
        verified_models(trained, ["tflite-fp32"], material, _silent)


# quantized-versus-float ---------------------------------------------------------------------

GOOD = Comparison(
    noisy=Scores(5.0, 1.5, 0.8),
    float32=Scores(12.0, 2.2, 0.9),
    quantized=Scores(11.9, 2.18, 0.9),
    snr_db=27.0,
    worst_snr_db=12.0,
    items=16,
)


def test_a_faithful_int8_model_passes() -> None:
    result = quantized_versus_float(GOOD)
    assert result.verdict == "pass"
    assert "SNR 27.0 dB" in result.measured
    assert "least SNR of one 12.0 dB" in result.detail


@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (replace(GOOD, snr_db=3.0), "far from the float"),
        (replace(GOOD, snr_db=float("nan")), "far from the float"),
        (replace(GOOD, quantized=Scores(11.4, 2.2, 0.9)), "SI-SDR drops"),
        (replace(GOOD, quantized=Scores(11.9, 2.0, 0.9)), "PESQ drops"),
        (replace(GOOD, noisy=Scores(11.95, 1.5, 0.8)), "no better than the noisy"),
        (replace(GOOD, noisy=Scores(None, None, None)), "silent"),
    ],
)
def test_an_unfaithful_one_fails(broken: Comparison, finding: str) -> None:
    result = quantized_versus_float(broken)
    assert result.verdict == "fail"
    assert finding in result.detail


def test_without_pesq_the_gate_could_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"pesq": "not installed", "pystoi": "0.4.1"}
    monkeypatch.setattr("export.gates.fidelity.metric_versions", lambda: absent)
    unscored = replace(GOOD, float32=Scores(12.0, None, 0.9), quantized=Scores(11.9, None, 0.9))
    assert quantized_versus_float(unscored).verdict == "unavailable"
    assert quantized_versus_float(replace(unscored, snr_db=1.0)).verdict == "fail"


def test_pesq_that_could_judge_nothing_is_not_a_pass() -> None:
    unscored = replace(GOOD, float32=Scores(12.0, None, 0.9), quantized=Scores(11.9, None, 0.9))
    result = quantized_versus_float(unscored)
    assert result.verdict == "unavailable"
    assert "could judge no mixture" in result.measured


def test_coarse_ranges_are_heard(run_folder: Path, material: Material) -> None:
    """Calibrating on signals far louder than speech leaves few steps for speech itself."""
    deafening = replace(material, calibration=[1e6 * s for s in material.calibration])
    with pytest.raises(ExportRejected, match="quantized-versus-float"):
        verified_models(
            of_checkpoint(load_checkpoint(run_folder)), ["tflite-int8"], deafening, _silent
        )


# publishing -------------------------------------------------------------------------------------


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_failure_half_way_restores_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    publish(tmp_path, [("model", b"old"), ("sidecar", b"old too")])
    replace_file, calls = os.replace, iter([None, failure])

    def interrupted(source: Any, destination: Any) -> None:
        if error := next(calls, None):
            raise error
        replace_file(source, destination)

    monkeypatch.setattr("runtime.artefact.os.replace", interrupted)
    expected = InputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        publish(tmp_path, [("model", b"new"), ("sidecar", b"new too")])
    assert _snapshot(tmp_path) == {"model": b"old", "sidecar": b"old too"}


def test_a_failure_in_a_new_folder_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(source: Any, destination: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runtime.artefact.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "a" / "b", [("model", b"new")])
    assert not (tmp_path / "a").exists()


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        check_writable(tmp_path / "file" / "deeper")


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that refuses, also for root, whom permissions do not stop."""
    monkeypatch.setattr("runtime.publish.os.access", lambda path, mode: False)
    return tmp_path


def test_a_read_only_output_is_refused_before_any_work(read_only: Path, run_folder: Path) -> None:
    with pytest.raises(InputError, match="No permission"):
        export_checkpoint(load_checkpoint(run_folder), ["tflite-fp32"], read_only)


def test_unavailable_gates_are_listed_once(verified: list[Verified], tmp_path: Path) -> None:
    gate = GateResult(name="bit-exact", measured="-", limit="-", verdict="unavailable")
    marked = [replace(m, sidecar=m.sidecar.model_copy(update={"gates": (gate,)})) for m in verified]
    assert unavailable_gates(write_artefacts(marked, tmp_path)) == [gate]
