"""Files with float16 weights, and with int8 weights beside float32 activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill.unet import UNet, UNetConfig
from export.executor import StepExecutor
from export.gates.recurrence import random_states, trace
from export.gates.stored_weights import stored_weights
from export.gates.structure import structure
from export.gates.weight_types import weight_types
from export.lowering import lower
from export.quality import snr_db
from export.step_graph import Conv2d, StepGraph, Tensor
from export.tflite_reduced import quantize_channels, write_fp16, write_int8_weights
from runtime.engines import engine_from_bytes
from targets.errors import InputError
from tests.export.edited import rewritten, tensor_named

Array = npt.NDArray[np.float32]
Stored = Literal["FLOAT16", "INT8"]

WRITERS: dict[Stored, Callable[[StepGraph], bytes]] = {
    "FLOAT16": write_fp16,
    "INT8": write_int8_weights,
}
# What the rounding of weights leaves of a random network, with a margin of some dB.
LEAST_SNR_DB: dict[Stored, float] = {"FLOAT16": 60.0, "INT8": 32.0}

both = pytest.mark.parametrize("stored", list(WRITERS))
needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for Linux on x86-64 only"
)


@pytest.fixture(scope="module")
def files(graph: StepGraph) -> dict[Stored, bytes]:
    return {stored: write(graph) for stored, write in WRITERS.items()}


@both
@pytest.mark.parametrize("engine", ["litert", "litert-reference"])
def test_they_compute_nearly_what_the_graph_computes(
    files: dict[Stored, bytes],
    graph: StepGraph,
    random_features: Array,
    stored: Stored,
    engine: str,
) -> None:
    states = random_states(graph)
    frames = random_features.reshape(-1, 64, 3)
    reference = trace(StepExecutor(graph), frames, states)
    found = trace(engine_from_bytes(engine, files[stored]), frames, states)
    for one, other in zip(reference, found, strict=True):
        assert snr_db(one, other) > LEAST_SNR_DB[stored]


@both
def test_they_pass_their_gates(
    make_network: Callable[..., UNet], kind_config: UNetConfig, stored: Stored
) -> None:
    graph = lower(make_network(kind_config))
    content = WRITERS[stored](graph)
    results = [
        structure(content, graph),
        stored_weights(content, graph),
        weight_types(content, graph, stored),
    ]
    assert {result.name: result.verdict for result in results} == {
        "structure": "pass",
        "stored-weights": "pass",
        "weight-types": "pass",
    }


@both
def test_every_kind_of_convolution_is_unpacked(stored: Stored) -> None:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    entry = Tensor("features", (1, 1, 8, 4))
    depthwise = Conv2d(
        Tensor("deep", (1, 1, 8, 8)), entry, 9 * drawn(8, 1, 3, 1), drawn(8)
    )  # two outputs of each channel
    grouped = Conv2d(Tensor("mask", (1, 1, 4, 6)), depthwise.output, drawn(6, 1, 3, 4), drawn(6))
    grouped = replace(grouped, stride=(1, 2))
    graph = StepGraph(entry, grouped.output, (), (depthwise, grouped))
    frames = drawn(5, 8, 4)
    reference = trace(StepExecutor(graph), frames, [])[0]
    for engine in ("litert", "litert-reference"):
        found = trace(engine_from_bytes(engine, WRITERS[stored](graph)), frames, [])[0]
        assert snr_db(reference, found) > LEAST_SNR_DB[stored]
    assert stored_weights(WRITERS[stored](graph), graph).verdict == "pass"


def test_they_are_smaller(files: dict[Stored, bytes], float_file: bytes) -> None:
    assert len(files["INT8"]) < len(files["FLOAT16"]) < len(float_file)


@needs_tflm
@both
def test_tflm_refuses_them(files: dict[Stored, bytes], stored: Stored) -> None:
    with pytest.raises(InputError, match=f"TFLM cannot unpack {stored.lower()} weights"):
        engine_from_bytes("tflm", files[stored])


def test_a_weight_beyond_float16_is_refused(graph: StepGraph) -> None:
    first = graph.operators[0]
    assert isinstance(first, Conv2d)
    huge = replace(first, weight=np.full_like(first.weight, 1e5))
    loud = replace(graph, operators=(huge, *graph.operators[1:]))
    with pytest.raises(InputError, match=first.output.name):
        write_fp16(loud)
    assert stored_weights(write_int8_weights(loud), loud).verdict == "pass"


@given(
    arrays(np.float32, (3, 2, 2, 2), elements=st.floats(-1e4, 1e4, width=32)),
    st.integers(0, 3),
)
def test_channels_are_off_by_half_a_step_at_most(weight: Array, axis: int) -> None:
    steps, scales = quantize_channels(weight, axis)
    shape = tuple(-1 if one == axis else 1 for one in range(4))
    error = np.abs(steps * scales.reshape(shape).astype(np.float64) - weight)
    assert np.all(error <= 0.501 * scales.reshape(shape))
    assert np.abs(steps.astype(int)).max() <= 127


# the gates, on files broken on purpose ----------------------------------------------------------


def test_a_float32_weight_is_found(graph: StepGraph, float_file: bytes) -> None:
    for stored in WRITERS:
        result = weight_types(float_file, graph, stored)
        assert result.verdict == "fail"
        assert "is FLOAT32" in result.measured


def test_the_other_type_is_found(graph: StepGraph, files: dict[Stored, bytes]) -> None:
    assert weight_types(files["INT8"], graph, "FLOAT16").verdict == "fail"
    assert weight_types(files["FLOAT16"], graph, "INT8").verdict == "fail"


def test_one_scale_for_all_channels_is_found(graph: StepGraph, files: dict[Stored, bytes]) -> None:
    def flatten(model: Any) -> None:
        quantization = tensor_named(model, "gru/expand/weight/int8").quantization
        quantization.scale, quantization.zeroPoint = [float(quantization.scale[0])], [0]

    broken = rewritten(files["INT8"], flatten)
    assert weight_types(broken, graph, "INT8").verdict == "fail"
    assert stored_weights(broken, graph).verdict == "fail"


def test_a_large_float32_constant_is_found(graph: StepGraph, files: dict[Stored, bytes]) -> None:
    def keep(model: Any) -> None:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = "kept", [4096], schema.TensorType.FLOAT32
        tensor.buffer = len(model.buffers)
        buffer = schema.BufferT()
        buffer.data = np.zeros(4 * 4096, np.uint8)
        model.buffers.append(buffer)
        model.subgraphs[0].tensors.append(tensor)

    result = weight_types(rewritten(files["FLOAT16"], keep), graph, "FLOAT16")
    assert result.verdict == "fail"
    assert "kept" in result.measured


@both
def test_one_wrong_weight_is_found(
    graph: StepGraph, files: dict[Stored, bytes], stored: Stored
) -> None:
    def spoil(model: Any) -> None:
        index = tensor_named(model, f"gru/expand/weight/{stored.lower()}").buffer
        data = np.array(model.buffers[index].data)
        data[1] ^= 2
        model.buffers[index].data = data

    assert stored_weights(rewritten(files[stored], spoil), graph).verdict == "fail"
