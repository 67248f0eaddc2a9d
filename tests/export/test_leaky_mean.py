"""The mean of a minGRU in int8: TFLM and LiteRT round every pair of values alike."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import pytest

from distill.unet import UNet, UNetConfig
from export.calibration import calibrate
from export.lowering import lower
from export.precision import wide_everywhere
from export.quantization import (
    HIDDEN,
    LOGISTIC_OUTPUT,
    TANH_OUTPUT,
    UNIT_INT16,
    Affine,
    QuantizedGraph,
    quantize_graph,
)
from export.step_graph import Elementwise, Reshape, State, StepGraph, Tensor
from export.tflite import write_quantized
from runtime.engines import engine_from_bytes
from runtime.stft import StftContract

SQUARE = (1, 1, 256, 256)
Kind = Literal["add", "sub", "mul"]


def differing(kind: Kind, left: Affine, right: Affine, result: Affine) -> int:
    """Of all pairs of int8 values, those that the two interpreters compute apart."""
    one, other = Tensor("features", SQUARE), Tensor("other_in", SQUARE)
    mask, carried = Tensor("mask", SQUARE), Tensor("other_out", SQUARE)
    operators = (Elementwise(kind, mask, one, other), Reshape(carried, other))
    graph = StepGraph(one, mask, (State("other", other, carried),), operators)
    grids = {"features": left, "other_in": right, "other_out": right, "mask": result}
    content = write_quantized(QuantizedGraph(graph, grids, {}))
    every = np.arange(-128, 128, dtype=np.int8)
    inputs = [np.broadcast_to(every[:, None], SQUARE).copy(), np.broadcast_to(every, SQUARE).copy()]
    results = [
        engine_from_bytes(name, content).run(inputs)[0] for name in ("litert-reference", "tflm")
    ]
    return int(np.count_nonzero(results[0] != results[1]))


@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="needs tflite-micro")
@pytest.mark.parametrize(
    ("kind", "left", "right", "result"),
    [
        ("mul", LOGISTIC_OUTPUT, TANH_OUTPUT, TANH_OUTPUT),
        ("mul", Affine(float(np.float32(0.99 / 255.0)), -128), HIDDEN, HIDDEN),
        ("add", HIDDEN, TANH_OUTPUT, HIDDEN),
    ],
)
def test_all_pairs_agree(kind: Kind, left: Affine, right: Affine, result: Affine) -> None:
    assert differing(kind, left, right, result) == 0


@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="needs tflite-micro")
def test_at_the_scale_of_a_hidden_state_two_pairs_would_not() -> None:
    assert differing("mul", LOGISTIC_OUTPUT, TANH_OUTPUT, HIDDEN) == 2


def test_what_is_taken_of_a_candidate_has_its_scale(
    make_network: Callable[..., UNet], contract: StftContract, signals: list[Any]
) -> None:
    config = UNetConfig(
        bins=64, widths=(4, 6), hidden=5, kernel_time=1, bottleneck="dual", blocks=1, full_band=4
    )
    graph = lower(make_network(config))
    calibration = calibrate(graph, contract, signals[:2])
    narrow, wide = (
        quantize_graph(graph, calibration, names).activations
        for names in ((), wide_everywhere(graph))
    )
    for name in ("dual0", "full"):
        assert narrow[f"{name}/taken"] == TANH_OUTPUT
        for part in ("_in", "_out", "/carried"):
            assert narrow[name + part] == HIDDEN
        for part in ("_in", "_out", "/carried", "/taken", "/update", "/new"):
            assert wide[name + part] == UNIT_INT16
