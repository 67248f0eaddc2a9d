"""Every kind of network that can be exported: real masks, bands, temporal convolutions."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema

from distill.bands import Bands
from distill.checkpoint import load_checkpoint, save_checkpoint
from distill.unet import UNet, UNetConfig
from export.calibration import calibrate
from export.executor import StepExecutor
from export.formats import FORMATS, Format
from export.gates.bit_exact import bit_exact
from export.gates.no_float_weights import no_float_weights
from export.gates.onnx_structure import onnx_structure
from export.gates.recurrence import trace
from export.gates.stored_weights import stored_weights
from export.gates.structure import structure
from export.lowering import lower
from export.material import Material
from export.onnx import write_onnx
from export.pipeline import verified_models, write_artefacts
from export.quality import snr_db
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import Slice, StepGraph, Transpose
from export.students import own_student
from export.tflite import write_float, write_quantized
from export.trained import of_checkpoint
from export.verify import probe_features, verify_network, verify_parity
from runtime.artefact import load_artefact
from runtime.denoiser import denoise_signal
from runtime.engines import engine_from_bytes, engine_names
from runtime.stft import StftContract
from targets.errors import InputError
from tests.export.edited import rewritten, tensor_named

Signals = list[npt.NDArray[np.float32]]

needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)


@dataclass(frozen=True)
class Emitted:
    network: UNet
    graph: StepGraph
    quantized: QuantizedGraph
    probe: npt.NDArray[np.float32]
    float32: bytes
    int8: bytes
    onnx: bytes

    @property
    def stored(self) -> npt.NDArray[np.int8]:
        """The probe as int8."""
        affine = self.quantized.activations["features"]
        steps = np.rint(self.probe / np.float32(affine.scale)) + affine.zero_point
        return np.clip(steps, -128, 127).astype(np.int8)


@pytest.fixture(scope="module")
def emitted(
    kind_config: UNetConfig,
    make_network: Callable[..., UNet],
    contract: StftContract,
    signals: Signals,
) -> Emitted:
    network = make_network(kind_config)
    graph = lower(network)
    quantized = quantize_graph(graph, calibrate(graph, contract, signals))
    return Emitted(
        network,
        graph,
        quantized,
        probe_features(contract, signals)[:60],
        write_float(graph),
        write_quantized(quantized),
        write_onnx(own_student(network)),
    )


def test_float_files_compute_what_the_network_computes(emitted: Emitted) -> None:
    results = verify_network(own_student(emitted.network), emitted.probe)
    files: dict[Format, bytes] = {"tflite-fp32": emitted.float32, "onnx-fp32": emitted.onnx}
    results.append(verify_parity(own_student(emitted.network), files, emitted.probe))
    results += [
        structure(emitted.float32, emitted.graph),
        stored_weights(emitted.float32, emitted.graph),
        onnx_structure(emitted.onnx, emitted.graph),
    ]
    assert {result.name: result.verdict for result in results} == dict.fromkeys(
        (result.name for result in results), "pass"
    )


@needs_tflm
def test_int8_files_pass_their_gates(emitted: Emitted) -> None:
    results = [
        structure(emitted.int8, emitted.graph),
        stored_weights(emitted.int8, emitted.graph),
        no_float_weights(emitted.int8),
        bit_exact(emitted.int8, emitted.stored),
    ]
    assert {result.verdict for result in results} == {"pass"}


def test_int8_masks_are_close_to_float_masks(emitted: Emitted) -> None:
    engine = engine_from_bytes("litert-reference", emitted.int8)
    affine = emitted.quantized.activations
    zeros = [
        np.full(port.shape, affine[tensor.name].zero_point, np.int8)
        for port, tensor in zip(engine.inputs[1:], emitted.graph.inputs[1:], strict=True)
    ]
    stored = trace(engine, emitted.stored, zeros)[0].astype(np.float32)
    mask = affine[emitted.graph.mask.name]
    executor = StepExecutor(emitted.graph)
    reference = trace(executor, emitted.probe, executor.initial_states())[0]
    assert snr_db(reference, (stored - mask.zero_point) * np.float32(mask.scale)) > 35.0


def test_operators_that_only_move_values_keep_their_scale(emitted: Emitted) -> None:
    for operator in emitted.graph.operators:
        if isinstance(operator, Transpose | Slice):
            scales = emitted.quantized.activations
            assert scales[operator.input.name] == scales[operator.output.name]


@pytest.mark.parametrize("kind_config", ["temporal convolution"], indirect=True)
def test_a_file_that_forgets_the_wrong_frame_is_found(emitted: Emitted) -> None:
    def drop_the_newest(model: Any) -> None:
        graph = model.subgraphs[0]
        output = graph.tensors.index(tensor_named(model, "tcn0_out"))
        forgetting = next(one for one in graph.operators if one.outputs[0] == output)
        forgetting.inputs = list(forgetting.inputs)
        for place, values in ((1, [0, 0, 0, 0]), (2, [1, 2, 1, 12])):
            # Begin and end may be other operators' too: these become this one's own.
            own = copy(graph.tensors[forgetting.inputs[place]])
            own.buffer, buffer = len(model.buffers), schema.BufferT()
            buffer.data = np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8)
            model.buffers.append(buffer)
            forgetting.inputs[place] = len(graph.tensors)
            graph.tensors.append(own)

    files: dict[Format, bytes] = {"tflite-fp32": rewritten(emitted.float32, drop_the_newest)}
    assert verify_parity(own_student(emitted.network), files, emitted.probe).verdict == "fail"


@needs_tflm
@pytest.mark.slow
@pytest.mark.usefixtures("short_probe")
@pytest.mark.parametrize(
    "kind_config", ["bands, real mask", "temporal convolution", "dual path"], indirect=True
)
def test_all_formats_pass_their_gates_and_denoise_alike(
    kind_config: UNetConfig,
    save_kind: Callable[[UNetConfig], Path],
    material: Material,
    tmp_path: Path,
) -> None:
    checkpoint = load_checkpoint(save_kind(kind_config))
    models = verified_models(of_checkpoint(checkpoint), FORMATS, material, lambda stage, done: None)
    noisy = material.held_out[0].noisy
    denoised = {}
    for artefact in write_artefacts(models, tmp_path / "out"):
        opened = load_artefact(artefact.path)
        assert {gate.verdict for gate in opened.sidecar.gates} == {"pass"}
        for engine in engine_names(opened):
            denoised[opened.sidecar.target, engine] = denoise_signal(opened, engine, noisy)
    reference = denoised["tflite-fp32", "litert"]
    np.testing.assert_allclose(denoised["onnx-fp32", "onnxruntime"], reference, atol=1e-5)
    int8 = denoised["tflite-int8", "tflm"]
    np.testing.assert_array_equal(int8, denoised["tflite-int8", "litert-reference"])
    assert snr_db(reference, int8) > 20.0


def test_bands_of_another_contract_are_refused(
    save_kind: Callable[[UNetConfig], Path],
    material: Material,
) -> None:
    config = UNetConfig(bins=64, widths=(6, 8, 10), hidden=12, bands=Bands(count=32, bin_hz=62.5))
    checkpoint = load_checkpoint(save_kind(config))
    with pytest.raises(InputError, match=r"31\.25 Hz"):
        verified_models(
            of_checkpoint(checkpoint), ["onnx-fp32"], material, lambda stage, done: None
        )


def test_a_checkpoint_keeps_its_configuration(
    save_kind: Callable[[UNetConfig], Path], kind_config: UNetConfig, tmp_path: Path
) -> None:
    saved = load_checkpoint(save_kind(kind_config))
    assert saved.network.config == kind_config
    save_checkpoint(tmp_path / "again", saved.network, saved.record)
    assert load_checkpoint(tmp_path / "again").record.architecture == kind_config
