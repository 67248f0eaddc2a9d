"""The gates that read a file back: sound files pass, files broken on purpose fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from distill.unet import UNet
from export.gates.no_float_weights import no_float_weights
from export.gates.onnx_structure import onnx_structure
from export.gates.scale_floor import scale_floor
from export.gates.stored_weights import stored_weights
from export.gates.structure import structure
from export.gates.tflite_file import read_model
from export.lowering import lower
from export.quantization import Affine, QuantizedGraph
from export.step_graph import Conv2d, Reshape, StepGraph
from export.tflite import write_float, write_quantized
from tests.export.edited import Edit, rewritten, tensor_named

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
    assert write_quantized(quantized) == int8_file


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
