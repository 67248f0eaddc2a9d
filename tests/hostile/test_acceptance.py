"""The checks of model files refuse nothing that is sound."""

from __future__ import annotations

import dataclasses
import inspect
import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.lowering import lower
from export.tflite_reduced import write_fp16, write_int8_weights
from runtime.modelfile.onnx_schema import SCHEMA as ONNX_SCHEMA
from runtime.modelfile.onnx_schema import TYPES as ONNX_TYPES
from runtime.modelfile.refusal import MOST_WORK, ModelRefused
from runtime.modelfile.tflite import check_tflite
from runtime.modelfile.tflite_operators import RULES
from runtime.modelfile.tflite_schema import SCHEMA, TYPES, UNIONS
from tests.export.c.exactness.cases import FAMILIES
from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import Case, Value, file_of
from tests.export.conftest import randomised
from tests.hostile.bases import CONFIG, bases

CASES = 12


@pytest.mark.parametrize("name", FAMILIES)
def test_random_cases_of_every_operator_pass(name: str) -> None:
    """Shapes, strides, paddings, types and scales as drawn for comparing kernels with TFLM."""
    family = FAMILIES[name]
    for dtype in family.dtypes:
        drawn = [family.draw(Drawer((5, number)), dtype) for number in range(CASES)]
        model = check_tflite(file_of(drawn))
        assert len(model.operators) == CASES


def test_what_the_exporter_writes_passes() -> None:
    graph = lower(randomised(CONFIG))
    for content in (write_fp16(graph), write_int8_weights(graph), bases()["int8"].content):
        model = check_tflite(content)
        assert [model.tensors[index].name for index in model.inputs] == [
            tensor.name for tensor in graph.inputs
        ]
        assert 1_000 < model.work < MOST_WORK
        assert model.tensor_bytes > 2_000


def test_a_step_of_too_much_work_is_refused() -> None:
    source = Value((1, 1 << 11, 1 << 8, 8), "float32")
    weight = Value.constant(_ones(64, 8))
    options = schema.FullyConnectedOptionsT()
    result = Value((1 << 19, 64), "float32")
    small = dataclasses.replace(source, shape=(1, 4, 6, 8))
    few = dataclasses.replace(result, shape=(24, 64))
    check_tflite(file_of([Case("FULLY_CONNECTED", options, (small, weight), (few,), ())]))
    with pytest.raises(ModelRefused, match="MiB of memory"):
        check_tflite(file_of([Case("FULLY_CONNECTED", options, (source, weight), (result,), ())]))
    case = Case("FULLY_CONNECTED", options, (_rows(1 << 14), _matrix()), (_rows(1 << 14),), ())
    with pytest.raises(ModelRefused, match="more than 256 million products"):
        check_tflite(file_of([case]))


def _rows(count: int) -> Value:
    return Value((count, 256), "float32")


def _matrix() -> Value:
    return Value.constant(_ones(256, 256))


def _ones(*shape: int) -> npt.NDArray[np.float32]:
    return np.ones(shape, np.float32)


@cache
def _slots() -> dict[str, int]:
    """``TensorAddShape`` in small letters → 0: from the generated functions that add a field."""
    source = inspect.getsource(schema)
    found = re.findall(r"def (\w+)\(builder[^\n]*\n\s+builder\.\w+Slot\((\d+),", source)
    return {name.lower(): int(slot) for name, slot in found}


@pytest.mark.parametrize("table", SCHEMA)
def test_field_numbers_are_those_of_the_schema(table: str) -> None:
    name = {"Quantization": "QuantizationParameters"}.get(table, table)
    for number, field in enumerate(SCHEMA[table]):
        if field.name != "deprecated_tag":  # no function is generated for it
            function = f"{name}add{field.name.replace('_', '')}".lower()
            assert _slots()[function] == number, field


def test_numbers_of_operators_unions_and_types_are_those_of_the_schema() -> None:
    for number, rule in RULES.items():
        assert getattr(schema.BuiltinOperator, rule.name) == number
        assert not rule.options or rule.options in UNIONS.values(), rule
    for number, table in UNIONS.items():
        assert getattr(schema.BuiltinOptions, table) == number
    for number, (name, _) in TYPES.items():
        assert getattr(schema.TensorType, name.upper()) == number


def test_field_numbers_of_onnx_are_those_of_its_schema() -> None:
    from onnx import onnx_ml_pb2 as proto

    messages: dict[str, Any] = {
        "Model": proto.ModelProto,
        "OperatorSet": proto.OperatorSetIdProto,
        "Graph": proto.GraphProto,
        "Node": proto.NodeProto,
        "Attribute": proto.AttributeProto,
        "Tensor": proto.TensorProto,
        "ValueInfo": proto.ValueInfoProto,
        "Type": proto.TypeProto,
        "TensorType": proto.TypeProto.Tensor,
        "Shape": proto.TensorShapeProto,
        "Dimension": proto.TensorShapeProto.Dimension,
    }
    for name, fields in ONNX_SCHEMA.items():
        known = messages[name].DESCRIPTOR.fields_by_name
        for number, field in fields.items():
            if field.name != "opaque_type":  # not in every build
                assert known[field.name].number == number, (name, field)
    for number, (kind, _, _) in ONNX_TYPES.items():
        assert proto.TensorProto.DataType.Name(number).lower() in (kind, "float")
