"""Gates on files: each passes a sound one and sees what was planted in another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from runtime.artefact import Artefact, GateResult, source_files
from runtime.verification.c_source import COMPILERS, c_compiles
from runtime.verification.verify import verify_artefacts
from tests.export.edited import tensor_named
from tests.runtime.tiny_models import Format
from tests.runtime.verification.edited_models import generated, made, onnx, tflite


def gates(artefact: Artefact) -> dict[str, GateResult]:
    (section,) = verify_artefacts([artefact], {}, minutes=0)
    return {gate.name: gate for gate in section.gates}


def failed(artefact: Artefact) -> dict[str, str]:
    return {name: gate.measured for name, gate in gates(artefact).items() if gate.verdict == "fail"}


@pytest.mark.parametrize("target", ["tflite-fp32", "tflite-int8", "onnx-fp32"])
def test_a_sound_model_passes_them_all(tmp_path: Path, target: Format) -> None:
    found = gates(made(tmp_path, target))
    names = {"sound", "structure", "weight-types", "finite-constants", "loads", "liveness"}
    assert names | {"reset", "causality"} <= found.keys()
    assert all(gate.verdict != "fail" and not gate.likely for gate in found.values())


# --- TFLite ---------------------------------------------------------------------------------------


def second_subgraph(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def shape_to_be_known_later(model: Any) -> None:
    tensor_named(model, "both").shapeSignature = [1, -1, 64, 3]


def operand_missing(model: Any) -> None:
    model.subgraphs[0].operators[1].inputs = model.subgraphs[0].operators[1].inputs[:1]


def scale_of_zero(model: Any) -> None:
    tensor_named(model, "both").quantization.scale = np.zeros(1, np.float32)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (second_subgraph, "subgraph"),
        (shape_to_be_known_later, "shape"),
        (operand_missing, "input"),
        (scale_of_zero, "scale"),
    ],
)
def test_sound_sees_what_no_interpreter_may_read(tmp_path: Path, edit: Any, words: str) -> None:
    found = failed(tflite(tmp_path, edit))
    assert found.keys() == {"sound"}
    assert words in found["sound"]


def test_structure_sees_an_operator_that_the_runtime_lacks(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        """An identity of float tensors that TFLM has no kernel for."""
        graph, code = model.subgraphs[0], schema.OperatorCodeT()
        code.builtinCode = schema.BuiltinOperator.GELU
        code.deprecatedBuiltinCode = 127
        model.operatorCodes.append(code)
        masked = schema.OperatorT()
        source = next(i for i, t in enumerate(graph.tensors) if t.name == b"mask")
        inner = schema.TensorT()
        inner.name, inner.shape, inner.type = b"inner", [1, 1, 64, 2], graph.tensors[source].type
        inner.quantization = graph.tensors[source].quantization
        graph.tensors.append(inner)
        graph.operators[1].outputs = [len(graph.tensors) - 1]
        masked.opcodeIndex = len(model.operatorCodes) - 1
        masked.inputs, masked.outputs = [len(graph.tensors) - 1], [source]
        masked.builtinOptions = schema.GeluOptionsT()
        masked.builtinOptionsType = schema.BuiltinOptions.GeluOptions
        graph.operators.append(masked)

    found = failed(tflite(tmp_path, edit))
    assert "GELU" in found.get("structure", found.get("sound", ""))


def test_weight_types_sees_a_weight_in_float(tmp_path: Path) -> None:
    artefact = made(tmp_path, "tflite-fp32")
    sidecar = artefact.sidecar.model_copy(update={"target": "tflite-fp16"})
    found = failed(artefact.model_copy(update={"sidecar": sidecar}))
    assert "float32" in found["weight-types"]


def test_scale_floor_sees_states_calibrated_at_zero(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        tensor_named(model, "both").quantization.scale = np.full(1, 1e-12, np.float32)

    found = gates(tflite(tmp_path, edit))
    assert found["scale-floor"].verdict == "fail"
    assert "both" in found["scale-floor"].measured
    assert "always zero" in found["scale-floor"].likely


def test_finite_constants_sees_a_weight_that_is_no_number(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        buffer = model.buffers[tensor_named(model, "mask_weight").buffer]
        values = np.frombuffer(bytes(buffer.data), np.float32).copy()
        values[0] = np.nan
        buffer.data = values.view(np.uint8)

    found = failed(tflite(tmp_path, edit, "tflite-fp32"))
    assert "mask_weight" in found["finite-constants"]


def test_state_symmetry_sees_a_scale_that_changes(tmp_path: Path) -> None:
    artefact = made(tmp_path, "tflite-int8")

    def edit(model: Any) -> None:
        tensor_named(model, "memory_out").quantization.scale = np.full(1, 1 / 16, np.float32)

    outputs = (
        artefact.sidecar.outputs[0],
        artefact.sidecar.outputs[1].model_copy(update={"scale": 1 / 16}),
    )
    edited = tflite(tmp_path, edit)
    sidecar = edited.sidecar.model_copy(update={"outputs": outputs})
    found = failed(edited.model_copy(update={"sidecar": sidecar}))
    assert "memory changes its scales" in found["state-symmetry"]


# --- ONNX -----------------------------------------------------------------------------------------


def test_onnx_weight_types_sees_a_weight_in_another_type(tmp_path: Path) -> None:
    artefact = made(tmp_path, "onnx-fp32")
    sidecar = artefact.sidecar.model_copy(update={"target": "onnx-int8"})
    found = failed(artefact.model_copy(update={"sidecar": sidecar}))
    assert "float32" in found["weight-types"]
    assert "not kept in integers" in found["state-symmetry"]


def test_onnx_finite_constants_sees_a_weight_that_is_no_number(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        from onnx import numpy_helper

        values = numpy_helper.to_array(model.graph.initializer[0]).copy()
        values.flat[0] = np.inf
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "weight"))

    assert "weight" in failed(onnx(tmp_path, edit))["finite-constants"]


def quantized_states(model: Any, before: float, after: float) -> None:
    """The memory goes through int8, in with one scale and out with another."""
    from onnx import helper, numpy_helper

    graph = model.graph
    for name, value in (
        ("before", np.float32(before)),
        ("after", np.float32(after)),
        ("zero", np.int8(0)),
    ):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    kept = [node for node in graph.node if node.op_type != "Identity"]
    kept[0].input[0] = "memory"
    added = [
        helper.make_node("QuantizeLinear", ["memory_in", "before", "zero"], ["memory_stored"]),
        helper.make_node("DequantizeLinear", ["memory_stored", "before", "zero"], ["memory"]),
        helper.make_node("QuantizeLinear", ["features", "after", "zero"], ["next_stored"]),
        helper.make_node("DequantizeLinear", ["next_stored", "after", "zero"], ["memory_out"]),
    ]
    del graph.node[:]
    graph.node.extend([*added, *kept])


@pytest.mark.parametrize(
    ("before", "after", "gate", "words"),
    [
        (0.03, 0.03, "", ""),
        (0.03, 0.06, "state-symmetry", "memory changes its scale"),
        (1e-12, 1e-12, "scale-floor", "1.0e-12"),
    ],
)
def test_onnx_scales(tmp_path: Path, before: float, after: float, gate: str, words: str) -> None:
    artefact = onnx(tmp_path, lambda model: quantized_states(model, before, after))
    sidecar = artefact.sidecar.model_copy(update={"target": "onnx-int8"})
    found = failed(artefact.model_copy(update={"sidecar": sidecar}))
    found.pop("weight-types")  # the weight of this model stays float32
    assert words in found.get(gate, "")
    if not gate:
        assert not found


# --- generated C ----------------------------------------------------------------------------------


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C compiler")
def test_compiling_sees_a_warning(tmp_path: Path) -> None:
    artefact = generated(made(tmp_path, "tflite-int8"))
    sources = source_files(artefact)
    assert c_compiles(sources).verdict == "pass"
    spoilt = sources | {"model.c": sources["model.c"] + b"\nint unused(long v) { return v; }\n"}
    gate = c_compiles(spoilt)
    assert gate.verdict == "fail"
    assert "edited" in gate.likely


def test_without_a_compiler_nothing_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert c_compiles({}).verdict == "unavailable"
