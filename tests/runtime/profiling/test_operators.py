"""Operators of a file: shapes, work and traffic, and what they add to measured rows."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from distill.unet import UNet, UNetConfig
from export.c.generator import generate
from export.calibration import calibrate
from export.lowering import lower
from export.onnx import write_onnx
from export.onnx_int8 import write_onnx_int8
from export.quantization import quantize_graph
from export.step_graph import StepGraph
from export.students import own_student
from export.tflite import write_float, write_quantized
from runtime.devices.artefacts import labels_of
from runtime.figures import Provenance
from runtime.modelfile.refusal import ModelRefused
from runtime.modelfile.tflite import check_tflite
from runtime.profiling.onnx_operators import UNKNOWN, onnx_rows
from runtime.profiling.operators import (
    c_rows,
    merged,
    operators_of,
    shares,
    tflite_rows,
    with_operators,
)
from runtime.profiling.records import OperatorRow, Reading
from runtime.stft import StftContract
from tests.export.every_operator import every_operator
from tests.runtime.tiny_models import write_artefact

CONFIG = UNetConfig(bins=64, widths=(6, 8, 10), hidden=12)


def quantized_of(graph: StepGraph) -> Any:
    noise = np.random.default_rng(0).normal(0.0, 0.1, (2, 4_000)).astype(np.float32)
    return quantize_graph(graph, calibrate(graph, StftContract(bins=64), list(noise)))


@pytest.fixture(scope="module")
def graph() -> StepGraph:
    return lower(UNet(CONFIG).eval())


@pytest.fixture(scope="module")
def quantized(graph: StepGraph) -> Any:
    return quantized_of(graph)


def macs(rows: tuple[OperatorRow, ...]) -> int:
    return sum(row.macs for row in rows)


def test_macs_of_every_export_are_those_of_its_graph(graph: StepGraph, quantized: Any) -> None:
    tflite = write_quantized(quantized)
    assert macs(tflite_rows(write_float(graph))) == graph.macs
    assert macs(tflite_rows(tflite)) == graph.macs
    assert macs(c_rows(generate(tflite).files["model.c"])) == graph.macs
    assert macs(onnx_rows(write_onnx_int8(quantized))) == graph.macs


@pytest.mark.slow
def test_macs_of_an_exported_onnx_are_those_of_its_graph(graph: StepGraph) -> None:
    rows = onnx_rows(write_onnx(own_student(UNet(CONFIG))))
    assert macs(rows) == graph.macs
    assert not [row for row in rows if row.note]


def test_macs_hold_for_every_kind_of_operator() -> None:
    every = every_operator()
    assert macs(tflite_rows(write_float(every))) == every.macs
    assert macs(c_rows(generate(write_float(every)).files["model.c"])) == every.macs


def test_bytes_are_inputs_weights_and_output_once_each(quantized: Any) -> None:
    content = write_quantized(quantized)
    row = next(row for row in tflite_rows(content) if row.kind == "CONV_2D")
    operator = check_tflite(content).operators[row.step]
    tensors = check_tflite(content).tensors
    source, weight, bias = (tensors[index] for index in operator.inputs)
    assert row.bytes_moved == sum(
        math.prod(tensor.shape) * {"int8": 1, "int32": 4}[tensor.dtype]
        for tensor in (source, weight, bias, tensors[operator.outputs[0]])
    )
    assert row.node == str(row.step)
    assert row.provenance is Provenance.EXACT


def test_an_int8_onnx_moves_what_is_stored_and_not_its_float_view(quantized: Any) -> None:
    """Its convolutions move what those of the TFLite file do: int8, biases of 32 bits."""
    rows = onnx_rows(write_onnx_int8(quantized))
    kept = [row.bytes_moved for row in rows if row.kind == "Conv"]
    stored = [row.bytes_moved for row in tflite_rows(write_quantized(quantized))]
    assert kept
    assert set(kept) <= set(stored)


def test_rows_of_c_are_the_operators_that_call_the_hook(quantized: Any) -> None:
    """Their constants hold the multipliers of every channel, so they move more than TFLite's."""
    content = write_quantized(quantized)
    source = generate(content).files["model.c"]
    rows = c_rows(source)
    labels = labels_of(source)
    assert [(row.step, row.kind, row.output, row.macs) for row in rows] == [
        (label.step, label.kind, label.output, label.macs) for label in labels
    ]
    file = {row.output: row for row in tflite_rows(content)}
    for row in rows:
        assert row.shape == file[row.output].shape
        assert row.bytes_moved is not None
        if row.macs:
            assert row.bytes_moved > (file[row.output].bytes_moved or 0)


def test_c_of_an_older_export_has_no_bytes() -> None:
    source = (
        b"/* 3: ADD -> sum [1, 2], in place */\n/* 4: CONV_2D -> a [1, 2, 3], 12 MACs; 1x1 */\n"
    )
    assert c_rows(source + b"    MODEL_BEGIN(4);") == (
        OperatorRow(step=4, kind="CONV_2D", output="a", shape=(1, 2, 3), macs=12),
    )


def node_model(kind: str, inputs: dict[str, Any], out: str = "y", **attributes: Any) -> bytes:
    """A model of one node; arrays are constants, tuples the shapes of inputs."""
    given = {name: value for name, value in inputs.items() if isinstance(value, tuple)}
    constants = {name: value for name, value in inputs.items() if not isinstance(value, tuple)}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(kind, list(inputs), ["z"], **attributes),
                helper.make_node("Relu", ["z"], [out], name="end"),
            ],
            "one",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in given.items()
            ],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, (1,))],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    content: bytes = model.SerializeToString()
    return content


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def whole(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("Conv", {"x": (1, 4, 9, 8), "w": zeros(6, 2, 3, 3)}, {"group": 2, "strides": [2, 1]}),
        ("Conv", {"x": (1, 4, 9), "w": zeros(6, 4, 3)}, {"pads": [1, 0], "dilations": [2]}),
        ("Conv", {"x": (1, 4, 9), "w": zeros(6, 4, 3)}, {"auto_pad": "SAME_UPPER"}),
        ("ConvTranspose", {"x": (1, 4, 5), "w": zeros(4, 3, 4)}, {"strides": [2], "pads": [1, 1]}),
        ("AveragePool", {"x": (1, 2, 9)}, {"kernel_shape": [3], "strides": [2]}),
        ("Gemm", {"x": (3, 4), "w": zeros(5, 4)}, {"transB": 1}),
        ("MatMul", {"x": (2, 1, 3, 4), "w": zeros(7, 4, 5)}, {}),
        ("Transpose", {"x": (2, 3, 4)}, {"perm": [2, 0, 1]}),
        ("Reshape", {"x": (2, 3, 4), "s": whole(0, -1)}, {}),
        ("Flatten", {"x": (2, 3, 4)}, {"axis": 2}),
        ("Squeeze", {"x": (2, 1, 4, 1), "s": whole(-1)}, {}),
        ("Unsqueeze", {"x": (2, 3), "s": whole(0, -1)}, {}),
        ("Concat", {"x": (2, 3), "w": zeros(2, 5)}, {"axis": -1}),
        ("Slice", {"x": (9, 3), "a": whole(-5), "b": whole(2**62), "c": whole(0)}, {}),
        ("Gather", {"x": (5, 3), "i": whole(1, 2)}, {"axis": 1}),
        ("Pad", {"x": (5, 3), "p": whole(1, 0, 2, 4)}, {}),
        ("ReduceMean", {"x": (5, 3, 2), "a": whole(1)}, {"keepdims": 0}),
        ("Expand", {"x": (5, 1), "s": whole(2, 1, 3)}, {}),
        ("Add", {"x": (5, 1, 2), "w": zeros(3, 1)}, {}),
    ],
)
def test_shapes_are_those_that_the_reference_infers(
    kind: str, inputs: dict[str, Any], attributes: dict[str, Any]
) -> None:
    model = onnx.load_from_string(node_model(kind, inputs, **attributes))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    (shape,) = (value.type.tensor_type.shape for value in inferred if value.name == "z")
    row = onnx_rows(node_model(kind, inputs, **attributes))[0]
    assert row.shape == tuple(side.dim_value for side in shape.dim)
    assert not row.note


def test_recurrent_layers_count_their_gates() -> None:
    weights = {"w": zeros(1, 18, 5), "r": zeros(1, 18, 6)}
    row = onnx_rows(node_model("GRU", {"x": (4, 2, 5), **weights}, hidden_size=6))[0]
    assert (row.shape, row.macs) == ((4, 1, 2, 6), 4 * 2 * 18 * (5 + 6))


def test_an_equation_counts_the_product_of_its_sides() -> None:
    content = node_model("Einsum", {"x": (2, 3, 4), "w": zeros(4, 5)}, equation="abc,cd->abd")
    model = onnx.load_from_string(content)
    model.graph.value_info.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, (2, 3, 5)))
    row = onnx_rows(model.SerializeToString())[0]
    assert (row.macs, row.bytes_moved) == (2 * 3 * 4 * 5, 4 * (24 + 20 + 30))


def test_what_a_file_does_not_tell_is_said_and_not_guessed() -> None:
    content = node_model("Resize", {"x": (1, 1, 4, 4), "e": zeros(0), "s": zeros(4)})
    row = onnx_rows(content)[0]
    assert (row.shape, row.macs, row.bytes_moved, row.note) == ((), 0, None, UNKNOWN)


@given(place=st.integers(0, 2**32), byte=st.integers(0, 255))
def test_a_damaged_onnx_is_refused_or_read(place: int, byte: int) -> None:
    content = bytearray(node_model("Gather", {"x": (5, 3), "i": whole(1, 2)}, axis=1))
    content[place % len(content)] = byte
    with suppress(ModelRefused):
        onnx_rows(bytes(content))


def test_every_kind_of_artefact_is_read(tmp_path: Path) -> None:
    for target in ("tflite-fp32", "tflite-int8", "onnx-fp32"):
        artefact = write_artefact(tmp_path, target)
        rows = operators_of(artefact)
        assert rows
        (reading,) = with_operators(artefact, ())
        assert (reading.backend, reading.operators) == ("file", rows)


def row(step: int, output: str, **known: Any) -> OperatorRow:
    return OperatorRow(step=step, kind="ADD", output=output, **known)


def test_measured_rows_take_what_the_file_tells() -> None:
    file = (row(0, "a", macs=7, bytes_moved=9, shape=(1, 2), node="0"), row(1, "b", macs=5))
    measured = (row(4, "b", value=3.0, unit="µs"), row(0, "a", value=1.0, unit="µs"), row(2, "c"))
    completed = merged(file, measured)
    assert [one.macs for one in completed] == [5, 7, 0]
    assert (completed[1].value, completed[1].bytes_moved, completed[1].shape) == (1.0, 9, (1, 2))
    assert completed[2] == measured[2]


def test_operators_measured_elsewhere_are_completed(tmp_path: Path) -> None:
    artefact = write_artefact(tmp_path)
    first = operators_of(artefact)[0]
    measured = row(first.step, first.output, value=2.0, unit="µs")
    (reading,) = with_operators(artefact, [Reading(backend="x", place="y", operators=(measured,))])
    assert reading.operators[0].bytes_moved == first.bytes_moved
    assert reading.operators[0].value == 2.0


@given(st.lists(st.floats(0, 1e9) | st.none(), max_size=20))
def test_shares_add_up(values: list[float | None]) -> None:
    rows = [row(i, "", value=value, unit="µs") for i, value in enumerate(values)]
    parts = [share for share in shares(rows) if share is not None]
    assert not parts or sum(parts) == pytest.approx(1.0)
    assert all(0.0 <= share <= 1.0 for share in parts)


def test_values_of_different_units_have_no_shares() -> None:
    assert shares([row(0, "", value=1.0, unit="µs"), row(1, "", value=1.0, unit="cycles")]) == (
        None,
        None,
    )
