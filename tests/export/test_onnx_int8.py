"""ONNX files in the QDQ form: int8 weights, integers between operators, float32 outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from distill.unet import UNet, UNetConfig
from export.calibration import Calibration, calibrate
from export.executor import StepExecutor
from export.gates.integer_kernels import integer_kernels
from export.gates.onnx_int8 import onnx_int8_structure
from export.gates.recurrence import trace
from export.lowering import lower
from export.onnx_int8 import write_onnx_int8
from export.precision import computed, wide_everywhere
from export.quality import snr_db
from export.quantization import Affine, QuantizedGraph, quantize_graph
from export.step_graph import Conv2d, StepGraph, Tensor
from export.tflite import write_quantized
from export.verify import probe_features
from runtime.artefact import GateResult, TensorSpec
from runtime.engines import engine_from_bytes
from runtime.stepper import dequantize, quantize
from runtime.stft import StftContract
from tests.export.every_operator import every_operator

Array = npt.NDArray[np.float32]
Signals = list[Array]


@pytest.fixture(scope="module")
def file(quantized: QuantizedGraph) -> bytes:
    return write_onnx_int8(quantized)


def spec(tensor: Tensor, affine: Affine) -> TensorSpec:
    return TensorSpec(
        name=tensor.name,
        shape=tensor.shape,
        dtype=affine.precision,
        scale=affine.scale,
        zero_point=affine.zero_point,
    )


def reference(quantized: QuantizedGraph, frames: Array) -> list[Array]:
    """The outputs of the TFLite file of the same graph, in real numbers."""
    graph, known = quantized.graph, quantized.activations
    specs = [spec(tensor, known[tensor.name]) for tensor in graph.inputs]
    states = [quantize(np.zeros(one.shape, np.float32), one) for one in specs[1:]]
    engine = engine_from_bytes("litert-reference", write_quantized(quantized))
    outputs = trace(engine, quantize(frames, specs[0]), states)
    return [
        dequantize(values, spec(tensor, known[tensor.name]))
        for tensor, values in zip(graph.outputs, outputs, strict=True)
    ]


def computed_by_onnx(quantized: QuantizedGraph, frames: Array) -> list[Array]:
    states = [np.zeros(tensor.shape, np.float32) for tensor in quantized.graph.inputs[1:]]
    return trace(engine_from_bytes("onnxruntime", write_onnx_int8(quantized)), frames, states)


def failure(result: GateResult) -> str:
    """What a gate found; nothing where it passed."""
    return "" if result.verdict == "pass" else f"{result.measured}; {result.detail}"


def test_it_is_the_int8_network(
    make_network: Callable[..., UNet],
    kind_config: UNetConfig,
    contract: StftContract,
    signals: Signals,
) -> None:
    graph = lower(make_network(kind_config))
    quantized = quantize_graph(graph, calibrate(graph, contract, signals))
    content = write_onnx_int8(quantized)
    assert failure(onnx_int8_structure(content, quantized)) == ""
    assert failure(integer_kernels(content)) == ""
    frames = probe_features(contract, signals)[:60]
    executor = StepExecutor(graph)
    exact = trace(executor, frames, executor.initial_states())
    found = computed_by_onnx(quantized, frames)
    assert snr_db(exact[0], found[0]) > 32.0
    for tensor, one, other in zip(graph.outputs, reference(quantized, frames), found, strict=True):
        step = quantized.activations[tensor.name].scale
        # One step now and then, which a recurrence makes several of.
        assert np.mean(np.abs(one - other)) < 1.0 * step, tensor.name


@pytest.mark.parametrize("choice", ["all", "one"])
def test_int16_activations(
    graph: StepGraph, calibration: Calibration, random_features: Array, choice: str
) -> None:
    wide = wide_everywhere(graph) if choice == "all" else {"gru/expand"}
    assert wide <= computed(graph)
    quantized = quantize_graph(graph, calibration, wide)
    content = write_onnx_int8(quantized)
    assert failure(onnx_int8_structure(content, quantized)) == ""
    assert onnx.load_from_string(content).opset_import[0].version == 21
    frames = random_features[0]
    one, other = reference(quantized, frames)[0], computed_by_onnx(quantized, frames)[0]
    assert snr_db(one, other) > (60.0 if choice == "all" else 30.0)


def test_every_operator_means_the_same() -> None:
    graph = every_operator()
    frames = np.random.default_rng(1).normal(size=(30, 8, 4)).astype(np.float32)
    executor = StepExecutor(graph)
    ranges = {tensor.name: (0.0, 0.0) for tensor in graph.inputs}
    for values in executor.sequence(frames[None]):
        for name, array in values.items():
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = min(low, float(array.min())), max(high, float(array.max()))
    quantized = quantize_graph(graph, Calibration(ranges, len(frames), ""))
    found = computed_by_onnx(quantized, frames)
    exact = trace(executor, frames, executor.initial_states())
    for one, other in zip(exact, found, strict=True):
        assert snr_db(one, other) > 20.0
    for tensor, one, other in zip(graph.outputs, reference(quantized, frames), found, strict=True):
        assert np.abs(one - other).max() <= 3.01 * quantized.activations[tensor.name].scale
    content = write_onnx_int8(quantized)
    assert failure(onnx_int8_structure(content, quantized)) == ""
    kinds = {node.op_type for node in onnx.load_from_string(content).graph.node}
    assert {"ConvTranspose", "PRelu", "LeakyRelu", "ReduceMean", "Pad", "Slice", "Relu"} <= kinds


def test_a_rectifier_that_rounding_does_anyway_has_no_node(
    file: bytes, quantized: QuantizedGraph
) -> None:
    rectified = [
        operator
        for operator in quantized.graph.operators
        if isinstance(operator, Conv2d) and operator.activation == "relu"
    ]
    assert rectified
    assert "Relu" not in {node.op_type for node in onnx.load_from_string(file).graph.node}


def test_the_same_graph_gives_the_same_bytes(file: bytes, quantized: QuantizedGraph) -> None:
    assert write_onnx_int8(quantized) == file


# the gates, on files broken on purpose ----------------------------------------------------------


def edited(content: bytes, edit: Callable[[Any], None]) -> bytes:
    model = onnx.load_from_string(content)
    edit(model)
    changed: bytes = model.SerializeToString()
    return changed


def constant(model: Any, name: str) -> Any:
    return next(one for one in model.graph.initializer if one.name == name)


def node(model: Any, name: str) -> Any:
    return next(one for one in model.graph.node if one.name == name)


def keep_float_weights(model: Any) -> None:
    stored = numpy_helper.to_array(constant(model, "gru/expand:weight:stored"))
    model.graph.initializer.append(
        numpy_helper.from_array(stored.astype(np.float32), "gru/expand:weight")
    )
    model.graph.node.remove(node(model, "gru/expand:weight"))


def spoil_one_weight(model: Any) -> None:
    stored = constant(model, "gru/expand:weight:stored")
    values = numpy_helper.to_array(stored).copy()
    values.reshape(-1)[5] ^= 2
    stored.CopyFrom(numpy_helper.from_array(values, stored.name))


def use_one_scale(model: Any) -> None:
    node(model, "gru/expand:weight").attribute[0].i = 1


def skip_a_rounding(model: Any) -> None:
    reader = node(model, "gru/reset/sum:exact")
    reader.input[0] = "gru/reset/input:exact"


def untie_a_state(model: Any) -> None:
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "other")
    model.graph.initializer.append(scale)
    next(one for one in model.graph.node if one.input[0] == "gru_in").input[1] = "other"


def add_a_product(model: Any) -> None:
    model.graph.node.append(helper.make_node("MatMul", ["mask", "mask"], ["square"]))


def rename_an_output(model: Any) -> None:
    model.graph.output[0].name = "gru_out"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (keep_float_weights, "the weight of gru/expand is float32"),
        (spoil_one_weight, "a weight of gru/expand is"),
        (use_one_scale, "scales along axis 1"),
        (skip_a_rounding, "gru/reset/sum:exact reads Conv, not integers"),
        (untie_a_state, "state gru changes its scale"),
        (add_a_product, "operator MatMul"),
        (rename_an_output, "inputs and outputs are not those of the step"),
    ],
)
def test_what_is_wrong_with_a_file_is_found(
    file: bytes, quantized: QuantizedGraph, edit: Callable[[Any], None], said: str
) -> None:
    result = onnx_int8_structure(edited(file, edit), quantized)
    assert result.verdict == "fail"
    assert said in f"{result.measured}; {result.detail}"


def test_a_convolution_left_in_float_is_found(file: bytes) -> None:
    assert integer_kernels(file).verdict == "pass"
    broken = edited(file, skip_the_rounding_of_a_convolution)
    assert integer_kernels(broken).verdict == "fail"


def skip_the_rounding_of_a_convolution(model: Any) -> None:
    """What ONNX Runtime has no integer kernel for: int8 on the way in, uint8 on the way out."""
    for one in model.graph.node:
        if one.output[0] == "gru/expand:stored:first":
            one.input[0] = "gru/expand:doubled"
    model.graph.node.insert(
        list(model.graph.node).index(node(model, "gru/expand:exact")) + 1,
        helper.make_node("Neg", ["gru/expand:exact"], ["gru/expand:doubled"]),
    )
