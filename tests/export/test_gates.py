"""Every gate passes on a sound model, and fails on one that is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

import runtime.engines
from distill.bottlenecks import Result, States
from distill.unet import UNet
from export.calibration import Calibration
from export.executor import StepExecutor
from export.gates.bit_exact import bit_exact
from export.gates.causality import causality
from export.gates.parity import parity
from export.gates.recurrence import Runner
from export.gates.responds import responds
from export.gates.sequence import sequence_equals_step
from export.gates.structure import structure
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import Conv2d, StepGraph
from export.students import own_student
from export.tflite import write_float, write_quantized
from runtime.engines import engine_from_bytes, missing
from tests.export.edited import rewritten, tensor_named

Array = npt.NDArray[np.float32]
needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)


@pytest.fixture(scope="module")
def frames(random_features: Array) -> Array:
    return random_features.reshape(-1, 64, 3)


@pytest.fixture(scope="module")
def stored_frames() -> npt.NDArray[np.int8]:
    return np.random.default_rng(3).integers(-128, 128, (200, 64, 3)).astype(np.int8)


# sequence-equals-step ---------------------------------------------------------------------------


def test_sequence_equals_step(network: UNet, graph: StepGraph, frames: Array) -> None:
    assert sequence_equals_step(own_student(network), frames).verdict == "pass"


def test_a_step_with_another_update_is_found(
    network: UNet, graph: StepGraph, frames: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = network.bottleneck.step

    def forgetful(frame: torch.Tensor, states: States) -> Result:
        return honest(frame, {"gru": states["gru"] * 0.999})

    monkeypatch.setattr(network.bottleneck, "step", forgetful)
    result = sequence_equals_step(own_student(network), frames)
    assert result.verdict == "fail"
    assert result.name == "sequence-equals-step"


def test_a_network_left_in_training_mode_is_found(
    network: UNet, graph: StepGraph, frames: Array
) -> None:
    assert sequence_equals_step(own_student(network.train()), frames).verdict == "fail"


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
    assert causality(own_student(network)).verdict == "pass"


@pytest.mark.parametrize("part", [1.0, 1e-3, 0.0])
def test_a_look_ahead_is_found(network: UNet, graph: StepGraph, part: float) -> None:
    """With a part of 0 only the NaN probe can see it: 0 · NaN is NaN."""
    student = own_student(network)
    network.decoder[-1] = LookAhead(network.decoder[-1], part)
    result = causality(student)
    assert result.verdict == "fail"
    assert "earlier output" in result.measured


def test_a_deaf_network_is_found(network: UNet, graph: StepGraph) -> None:
    class Deaf(nn.Module):
        def forward(self, sequence: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(sequence), 2, sequence.shape[2], 64)

    student = own_student(network)
    network.decoder[-1] = Deaf()
    assert "does not depend" in causality(student).measured


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
    result = parity(own_student(network), runners, frames)
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
    result = parity(own_student(network), {"tflite": engine_from_bytes("litert", broken)}, frames)
    assert result.verdict == "fail"


def test_outputs_that_are_not_numbers_fail_parity(
    network: UNet, graph: StepGraph, frames: Array
) -> None:
    class Broken(StepExecutor):
        def run(self, inputs: Sequence[Array]) -> list[Array]:
            return [output * np.float32(np.nan) for output in super().run(inputs)]

    assert parity(own_student(network), {"broken": Broken(graph)}, frames[:5]).verdict == "fail"


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
    result = _respond(broken, write_quantized(broken))
    assert result.verdict == "fail"
    assert "encoder1_out" in result.detail
