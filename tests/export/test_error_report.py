from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from export.calibration import Calibration, stack_features
from export.error_report import error_report, report_json, report_rows
from export.precision import wide_everywhere
from export.quantization import quantize_graph
from export.step_graph import StepGraph
from runtime.stft import StftContract
from tests.export.every_operator import every_operator

Features = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def probe(contract: StftContract, signals: list[Features]) -> Features:
    return stack_features(contract, signals[:1])[0]


def test_every_tensor_is_listed_the_worst_first(
    graph: StepGraph, calibration: Calibration, probe: Features
) -> None:
    report = error_report(graph, quantize_graph(graph, calibration), probe)
    assert {row.name for row in report} == {operator.output.name for operator in graph.operators}
    figures = [row.carried_db for row in report]
    assert figures == sorted(figures)
    assert all(5.0 < row.step_db <= 120.0 for row in report)
    assert {row.precision for row in report} == {"int8"}
    by_name = {row.name: row for row in report}
    assert by_name["mask"].operator == "tanh"
    assert by_name["gru_out"].carried_db < by_name["gru_out"].step_db  # it builds up


def test_int16_is_far_better(graph: StepGraph, calibration: Calibration, probe: Features) -> None:
    narrow = error_report(graph, quantize_graph(graph, calibration), probe)
    wide = error_report(graph, quantize_graph(graph, calibration, wide_everywhere(graph)), probe)
    assert wide[0].carried_db > narrow[0].carried_db + 6.0


def test_a_range_that_clips_is_seen_where_it_clips(
    graph: StepGraph, calibration: Calibration, probe: Features
) -> None:
    low, high = calibration.ranges["decoder0/sum"]
    ranges = calibration.ranges | {"decoder0/sum": (low / 8, high / 8)}
    clipped = quantize_graph(graph, replace(calibration, ranges=ranges))
    row = next(r for r in error_report(graph, clipped, probe) if r.name == "decoder0/sum")
    plain = quantize_graph(graph, calibration)
    before = next(r for r in error_report(graph, plain, probe) if r.name == "decoder0/sum")
    assert row.saturated > 0.02 > before.saturated
    assert row.step_db < before.step_db - 6.0


@pytest.mark.parametrize("wide", [False, True])
def test_every_operator_can_be_reported(wide: bool) -> None:
    graph = every_operator()
    features = np.random.default_rng(0).normal(size=(12, 8, 4)).astype(np.float32)
    names = [tensor.name for tensor in graph.inputs]
    names += [operator.output.name for operator in graph.operators]
    calibration = Calibration(dict.fromkeys(names, (-30.0, 30.0)), 1, "0" * 64)
    chosen = wide_everywhere(graph) if wide else ()
    report = error_report(graph, quantize_graph(graph, calibration, chosen), features)
    assert {row.name for row in report} >= {operator.output.name for operator in graph.operators}


def test_rows_are_for_people_and_json_for_programs(
    graph: StepGraph, calibration: Calibration, probe: Features
) -> None:
    report = error_report(graph, quantize_graph(graph, calibration), probe[:20])
    rows = report_rows(report, 3)
    assert len(rows) == 3
    assert rows[0][:3] == (report[0].name, report[0].operator, "int8")
    assert json.loads(json.dumps(report_json(report)))[0]["name"] == report[0].name
