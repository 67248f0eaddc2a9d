"""Every gate passes on a sound model, and fails on one that is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

import runtime.engines
from distill.unet import UNet
from export.calibration import Calibration
from export.executor import StepExecutor
from export.gates.bit_exact import bit_exact
from export.gates.causality import causality
from export.gates.no_float_weights import no_float_weights
from export.gates.onnx_structure import onnx_structure
from export.gates.parity import parity
from export.gates.recurrence import Runner
from export.gates.responds import responds
from export.gates.scale_floor import scale_floor
from export.gates.sequence import sequence_equals_step
from export.gates.stored_weights import stored_weights
from export.gates.structure import structure
from export.gates.tflite_file import read_model
from export.lowering import lower
from export.onnx import write_onnx
from export.quantization import Affine, QuantizedGraph, quantize_graph
from export.step_graph import Conv2d, Reshape, StepGraph
from export.tflite import write_float, write_int8
from runtime.engines import engine_from_bytes, missing

Array = npt.NDArray[np.float32]
Edit = Callable[[Any], None]
needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)


def rewritten(content: bytes, edit: Edit) -> bytes:
    """A TFLite file after ``edit`` changed its parsed model."""
    model = schema.ModelT.InitFromPackedBuf(content)
    edit(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor_named(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.subgraphs[0].tensors if tensor.name.decode() == name)


@pytest.fixture(scope="module")
def float_file(graph: StepGraph) -> bytes:
    return write_float(graph)


@pytest.fixture(scope="module")
def int8_file(quantized: QuantizedGraph) -> bytes:
    return write_int8(quantized)


@pytest.fixture(scope="module")
def onnx_file(make_network: Callable[..., UNet], graph: StepGraph) -> bytes:
    return write_onnx(make_network(), graph)


@pytest.fixture(scope="module")
def frames(random_features: Array) -> Array:
    return random_features.reshape(-1, 64, 3)


@pytest.fixture(scope="module")
def stored_frames() -> npt.NDArray[np.int8]:
    return np.random.default_rng(3).integers(-128, 128, (200, 64, 3)).astype(np.int8)


# sequence-equals-step ---------------------------------------------------------------------------


def test_sequence_equals_step(network: UNet, graph: StepGraph, frames: Array) -> None:
    assert sequence_equals_step(network, graph, frames).verdict == "pass"


def test_a_step_with_another_update_is_found(
    network: UNet, graph: StepGraph, frames: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = network.bottleneck.step

    def forgetful(frame: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return honest(frame, state * 0.999)

    monkeypatch.setattr(network.bottleneck, "step", forgetful)
    result = sequence_equals_step(network, graph, frames)
    assert result.verdict == "fail"
    assert result.name == "sequence-equals-step"


def test_a_network_left_in_training_mode_is_found(
    network: UNet, graph: StepGraph, frames: Array
) -> None:
    assert sequence_equals_step(network.train(), graph, frames).verdict == "fail"


# causality --------------------------------------------------------------------------------------


class LookAhead(nn.Module):
    """Shifts a sequence so that each frame sees a part of the next one."""

    def __init__(self, layer: nn.Module, part: float) -> None:
        super().__init__()
        self.layer, self.part = layer, part

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        later = torch.roll(sequence, -1, dims=2)
        return self.layer(sequence + self.part * later)


def test_causality(network: UNet, graph: StepGraph) -> None:
    assert causality(network, graph).verdict == "pass"


@pytest.mark.parametrize("part", [1.0, 1e-3, 0.0])
def test_a_look_ahead_is_found(network: UNet, graph: StepGraph, part: float) -> None:
    """With a part of 0 only the NaN probe can see it: 0 · NaN is NaN."""
    network.decoder[-1] = LookAhead(network.decoder[-1], part)
    result = causality(network, graph)
    assert result.verdict == "fail"
    assert "earlier output" in result.measured


def test_a_deaf_network_is_found(network: UNet, graph: StepGraph) -> None:
    class Deaf(nn.Module):
        def forward(self, sequence: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(sequence), 2, sequence.shape[2], 64)

    network.decoder[-1] = Deaf()
    assert "does not depend" in causality(network, graph).measured


# parity -----------------------------------------------------------------------------------------


def test_parity_of_every_float_route(
    network: UNet, graph: StepGraph, frames: Array, float_file: bytes, onnx_file: bytes
) -> None:
    runners: dict[str, Runner] = {
        "step graph": StepExecutor(graph),
        "tflite": engine_from_bytes("litert", float_file),
        "tflite reference": engine_from_bytes("litert-reference", float_file),
        "onnx": engine_from_bytes("onnxruntime", onnx_file),
    }
    result = parity(network, graph, runners, frames)
    assert result.verdict == "pass", result.detail


def _with(graph: StepGraph, change: Callable[[Any], Any]) -> StepGraph:
    return replace(graph, operators=tuple(change(operator) for operator in graph.operators))


def _unfolded(operator: Any) -> Any:
    """As if the batch norm of one layer had been forgotten."""
    if isinstance(operator, Conv2d) and operator.output.name == "decoder1/conv":
        return replace(operator, bias=np.zeros_like(operator.bias))
    return operator


def _channels_swapped(operator: Any) -> Any:
    """As if the sub-pixel channels were ordered [output, factor] instead of [factor, output]."""
    if isinstance(operator, Conv2d) and operator.output.name == "decoder2/conv":
        order = np.arange(8).reshape(4, 2).T.reshape(-1)
        return replace(operator, weight=operator.weight[order], bias=operator.bias[order])
    return operator


@pytest.mark.parametrize("change", [_unfolded, _channels_swapped])
def test_a_wrong_lowering_is_found(
    network: UNet, graph: StepGraph, frames: Array, change: Callable[[Any], Any]
) -> None:
    broken = write_float(_with(graph, change))
    result = parity(network, graph, {"tflite": engine_from_bytes("litert", broken)}, frames)
    assert result.verdict == "fail"


def test_outputs_that_are_not_numbers_fail_parity(
    network: UNet, graph: StepGraph, frames: Array
) -> None:
    class Broken(StepExecutor):
        def run(self, inputs: Sequence[Array]) -> list[Array]:
            return [output * np.float32(np.nan) for output in super().run(inputs)]

    assert parity(network, graph, {"broken": Broken(graph)}, frames[:5]).verdict == "fail"


# bit-exact --------------------------------------------------------------------------------------


@needs_tflm
def test_bit_exact(int8_file: bytes, stored_frames: npt.NDArray[np.int8]) -> None:
    result = bit_exact(int8_file, stored_frames)
    assert result.verdict == "pass", result.detail
    assert result.measured == "0 LSB over 200 frames"


def _with_fully_connected(model: Any) -> None:
    """The GRU's matrix products as FULLY_CONNECTED, which the two interpreters round apart."""
    graph = model.subgraphs[0]
    connected = schema.OperatorCodeT()
    connected.builtinCode = connected.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    connected.version = 5
    model.operatorCodes.append(connected)
    for operator in graph.operators:
        output = graph.tensors[operator.outputs[0]]
        if not output.name.decode().startswith("gru/") or len(operator.inputs) != 3:
            continue
        weight, bias = (graph.tensors[index] for index in operator.inputs[1:])
        weight.shape = [weight.shape[0], weight.shape[3]]
        coarsest = float(max(weight.quantization.scale))
        weight.quantization.scale, weight.quantization.zeroPoint = [coarsest], [0]
        source = graph.tensors[operator.inputs[0]].quantization.scale[0]
        bias.quantization.scale, bias.quantization.zeroPoint = [coarsest * float(source)], [0]
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        operator.builtinOptions.keepNumDims = True


@needs_tflm
def test_operators_that_round_differently_are_found(
    int8_file: bytes, stored_frames: npt.NDArray[np.int8], graph: StepGraph
) -> None:
    broken = rewritten(int8_file, _with_fully_connected)
    assert bit_exact(broken, stored_frames).verdict == "fail"
    assert "FULLY_CONNECTED" in structure(broken, graph).measured


def test_a_missing_interpreter_is_not_a_pass(
    int8_file: bytes, stored_frames: npt.NDArray[np.int8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_tflm(name: str, model: bytes) -> Any:
        if name == "tflm":
            raise missing(name)
        return runtime.engines.engine_from_bytes(name, model)

    monkeypatch.setattr("export.gates.bit_exact.engine_from_bytes", without_tflm)
    result = bit_exact(int8_file, stored_frames)
    assert result.verdict == "unavailable"
    assert "tflite-micro" in result.detail


@needs_tflm
def test_a_file_that_does_not_load_fails(stored_frames: npt.NDArray[np.int8]) -> None:
    assert bit_exact(b"not a model", stored_frames).verdict == "fail"


# responds ---------------------------------------------------------------------------------------


def _respond(quantized: QuantizedGraph, content: bytes) -> Any:
    engine = engine_from_bytes("litert-reference", content)
    rng = np.random.default_rng(5)
    loud = rng.integers(-128, 128, (20, 64, 3)).astype(np.int8)
    zero = quantized.activations["features"].zero_point
    graph = quantized.graph
    states = [
        np.full(t.shape, quantized.activations[t.name].zero_point, np.int8)
        for t in graph.inputs[1:]
    ]
    names = [tensor.name for tensor in graph.outputs]
    return responds(engine, loud, np.full_like(loud, zero), states, names)


def test_responds(quantized: QuantizedGraph, int8_file: bytes) -> None:
    assert _respond(quantized, int8_file).verdict == "pass"


def test_a_mask_that_never_moves_is_found(quantized: QuantizedGraph, int8_file: bytes) -> None:
    def deaf(model: Any) -> None:
        weight = tensor_named(model, "decoder2/conv/weight")
        model.buffers[weight.buffer].data = np.zeros(np.prod(weight.shape), np.uint8)

    result = _respond(quantized, rewritten(int8_file, deaf))
    assert result.verdict == "fail"
    assert "mask" in result.detail


def test_a_stuck_state_is_found(graph: StepGraph, calibration: Calibration) -> None:
    """Ranges a million times too wide round every history to zero."""
    ranges = dict(calibration.ranges)
    ranges["encoder1_out"] = (0.0, 1e6)
    broken = quantize_graph(graph, replace(calibration, ranges=ranges))
    result = _respond(broken, write_int8(broken))
    assert result.verdict == "fail"
    assert "encoder1_out" in result.detail


# scale-floor ------------------------------------------------------------------------------------


def test_scale_floor(int8_file: bytes) -> None:
    assert scale_floor(int8_file).verdict == "pass"


@pytest.mark.parametrize("name", ["encoder1_in", "gru/expand/weight"])
def test_a_vanishing_scale_is_found(int8_file: bytes, name: str) -> None:
    def shrink(model: Any) -> None:
        quantization = tensor_named(model, name).quantization
        quantization.scale = [1e-12, *list(quantization.scale)[1:]]

    result = scale_floor(rewritten(int8_file, shrink))
    assert result.verdict == "fail"
    assert name in result.detail


def test_a_missing_scale_and_a_float_file_are_found(int8_file: bytes, float_file: bytes) -> None:
    def strip(model: Any) -> None:
        tensor_named(model, "gru_in").quantization = None

    assert scale_floor(rewritten(int8_file, strip)).verdict == "fail"
    assert scale_floor(float_file).verdict == "fail"


# no-float-weights -------------------------------------------------------------------------------


def test_no_float_weights(int8_file: bytes) -> None:
    assert no_float_weights(int8_file).verdict == "pass"


@pytest.mark.parametrize("name", ["gru/expand/weight", "gru/expand/bias", "gru/new"])
def test_one_float_tensor_is_found(int8_file: bytes, name: str) -> None:
    def make_float(model: Any) -> None:
        tensor_named(model, name).type = schema.TensorType.FLOAT32

    result = no_float_weights(rewritten(int8_file, make_float))
    assert result.verdict == "fail"
    assert f"{name} is FLOAT32" in result.detail


def test_a_float_file_called_int8_is_found(float_file: bytes) -> None:
    assert no_float_weights(float_file).verdict == "fail"


# structure --------------------------------------------------------------------------------------


def test_structure_of_both_files(graph: StepGraph, int8_file: bytes, float_file: bytes) -> None:
    for content in (int8_file, float_file):
        result = structure(content, graph)
        assert result.verdict == "pass", result.measured


def test_the_bytes_depend_on_the_graph_alone(
    graph: StepGraph, quantized: QuantizedGraph, float_file: bytes, int8_file: bytes
) -> None:
    assert write_float(graph) == float_file
    assert write_int8(quantized) == int8_file


def _pot_scales(model: Any) -> None:
    for operator in model.subgraphs[0].operators:
        if isinstance(operator.builtinOptions, schema.AddOptionsT):
            operator.builtinOptions.potScaleInt16 = True


def _dynamic(model: Any) -> None:
    tensor_named(model, "features").shapeSignature = [-1, 1, 64, 3]


def _two_subgraphs(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def _transposed(model: Any) -> None:
    code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.RESHAPE)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.TRANSPOSE


def _renamed(model: Any) -> None:
    tensor_named(model, "gru_out").name = b"hidden"


def _states_swapped(model: Any) -> None:
    outputs = list(model.subgraphs[0].outputs)
    model.subgraphs[0].outputs = [outputs[0], outputs[2], outputs[1], outputs[3]]


def _untied(model: Any) -> None:
    quantization = tensor_named(model, "encoder1_in").quantization
    quantization.scale = [float(quantization.scale[0]) * 1.01]


def _shifted(model: Any) -> None:
    tensor_named(model, "gru_in").quantization.zeroPoint = [1]


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (_pot_scales, "pot_scale_int16"),
        (_dynamic, "features has no static shape"),
        (_two_subgraphs, "2 subgraphs"),
        (_transposed, "TRANSPOSE"),
        (_renamed, "not those of the step"),
        (_states_swapped, "not those of the step"),
        (_untied, "state encoder1 changes its scale"),
        (_shifted, "state gru changes its scale"),
    ],
)
def test_a_broken_structure_is_found(
    int8_file: bytes, graph: StepGraph, edit: Edit, finding: str
) -> None:
    result = structure(rewritten(int8_file, edit), graph)
    assert result.verdict == "fail"
    assert finding in result.measured + result.detail


def test_unaligned_weights_are_found(int8_file: bytes, graph: StepGraph) -> None:
    """The generated packer aligns to 4 bytes only."""
    result = structure(rewritten(int8_file, lambda model: None), graph)
    assert "aligned" in result.measured


def test_reading_back_what_was_written(int8_file: bytes, quantized: QuantizedGraph) -> None:
    stored = read_model(int8_file)
    for tensor in stored.tensors:
        if not tensor.constant:
            scale, zero_point = tensor.scales[0], tensor.zero_points[0]
            assert Affine(scale, zero_point) == quantized.activations[tensor.name]
    counts = stored.operator_counts()
    assert counts["RESHAPE"] == sum(isinstance(o, Reshape) for o in quantized.graph.operators)
    assert sum(counts.values()) == len(quantized.graph.operators)


# stored-weights ---------------------------------------------------------------------------------


def test_stored_weights(int8_file: bytes, float_file: bytes, graph: StepGraph) -> None:
    for content in (int8_file, float_file):
        result = stored_weights(content, graph)
        assert result.verdict == "pass", result
    parameters = sum(o.weight.size + o.bias.size for o in graph.operators if isinstance(o, Conv2d))
    assert f"{parameters} weights" in stored_weights(int8_file, graph).detail


def _one_step_more(name: str, place: int = 0) -> Edit:
    def edit(model: Any) -> None:
        buffer = model.buffers[tensor_named(model, name).buffer]
        data = np.asarray(buffer.data).copy()
        data[place] = data[place] + 1 if data[place] != 127 else 126
        buffer.data = data

    return edit


def _halve_scale(name: str) -> Edit:
    def edit(model: Any) -> None:
        quantization = tensor_named(model, name).quantization
        quantization.scale = np.concatenate(([quantization.scale[0] / 2], quantization.scale[1:]))

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        _one_step_more("gru/new/input/weight", 7),
        _one_step_more("decoder2/conv/weight", 3),
        _one_step_more("encoder1_out/bias"),
        _halve_scale("gru/expand/weight"),
        _halve_scale("encoder1_out/bias"),
        _halve_scale("encoder1/window"),
    ],
)
def test_a_single_wrong_constant_is_found(int8_file: bytes, graph: StepGraph, edit: Edit) -> None:
    result = stored_weights(rewritten(int8_file, edit), graph)
    assert result.verdict == "fail", result


def test_a_single_wrong_bit_of_a_float_weight_is_found(float_file: bytes, graph: StepGraph) -> None:
    altered = rewritten(float_file, _one_step_more("gru/new/input/weight"))
    assert stored_weights(altered, graph).verdict == "fail"


def test_another_network_s_weights_are_found(
    make_network: Callable[..., UNet], int8_file: bytes
) -> None:
    other = lower(make_network(seed=1))
    assert stored_weights(int8_file, other).verdict == "fail"


# onnx-structure ---------------------------------------------------------------------------------


def test_onnx_structure(onnx_file: bytes, graph: StepGraph) -> None:
    result = onnx_structure(onnx_file, graph)
    assert result.verdict == "pass", result.measured


def _float16_weight(model: Any) -> None:
    weight = next(w for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT)
    halved = onnx.numpy_helper.to_array(weight).astype(np.float16)
    weight.CopyFrom(onnx.numpy_helper.from_array(halved, weight.name))


def _symbolic(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def _external(model: Any) -> None:
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


@pytest.mark.parametrize("edit", [_float16_weight, _symbolic, _external])
def test_a_broken_onnx_file_is_found(onnx_file: bytes, graph: StepGraph, edit: Edit) -> None:
    model = onnx.load_from_string(onnx_file)
    edit(model)
    assert onnx_structure(model.SerializeToString(), graph).verdict == "fail"
