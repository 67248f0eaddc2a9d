"""Node data for Model Explorer: its documented structure, and the nodes it is about."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from runtime.figures import Provenance
from runtime.modelfile.tflite import check_tflite
from runtime.profiling.model_explorer import write_node_data
from runtime.profiling.operators import operators_of, with_operators
from runtime.profiling.records import OperatorRow, Reading
from targets.errors import InputError
from tests.runtime.profiling.made_up import host_reading, report, subject
from tests.runtime.tiny_models import write_artefact

Colour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class Documented(BaseModel):
    """What node_data_builder.py of model-explorer says, field by field."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NodeDataResult(Documented):
    value: float | int
    bgColor: Colour | None = None
    textColor: Colour | None = None


class ThresholdItem(Documented):
    value: float | int
    bgColor: Colour
    textColor: Colour | None = None


class GradientItem(Documented):
    stop: Annotated[float, Field(ge=0, le=1)]
    bgColor: Colour | None = None
    textColor: Colour | None = None


class GraphNodeData(Documented):
    results: dict[str, NodeDataResult]
    name: str | None = None
    thresholds: list[ThresholdItem] = []
    gradient: list[GradientItem] = []
    hideInAggregatedStatsTable: bool = False
    hideInChildrenStatsTable: bool = False
    hideAggregatedStats: list[Literal["min", "max", "sum", "avg"]] | None = None


def read(path: Path) -> GraphNodeData:
    return GraphNodeData.model_validate_json(path.read_bytes())


def test_every_file_has_the_documented_structure(tmp_path: Path) -> None:
    paths = write_node_data(report(), tmp_path / "nodes")
    assert sorted(path.name for path in paths) == [
        "student-c-int8-MACs.json",
        "student-c-int8-bytes.json",
        "student-c-int8-instructions-cortex-m4.json",
        "student-c-int8-share-of-instructions-cortex-m4.json",
    ]
    for path in paths:
        data = read(path)
        assert data.name
        if data.gradient:
            assert [data.gradient[0].stop, data.gradient[-1].stop] == [0.0, 1.0]
        else:
            limits = [item.value for item in data.thresholds]
            assert limits == sorted(limits)
            assert limits[-1] == 1.0
        assert all(result.value >= 0 for result in data.results.values())


def test_a_file_that_names_no_graph_is_for_the_open_one(tmp_path: Path) -> None:
    """Model Explorer takes a file for data of one graph if "results" holds nodes and not graphs."""
    for path in write_node_data(report(), tmp_path):
        assert "results" not in json.loads(path.read_bytes())["results"]


def test_operators_of_a_tflite_are_their_numbers(tmp_path: Path) -> None:
    """Its built-in adapter calls operator k "k", and what it adds comes after all of them."""
    artefact = write_artefact(tmp_path)
    made = report(subject(artefact.path.name, *with_operators(artefact, ())))
    paths = write_node_data(made, tmp_path / "nodes")
    count = len(check_tflite(artefact.path.read_bytes()).operators)
    data = read(next(path for path in paths if path.name.endswith("bytes.json")))
    assert list(data.results) == [str(number) for number in range(count)]


def test_operators_of_an_onnx_are_their_names(tmp_path: Path) -> None:
    artefact = write_artefact(tmp_path, "onnx-fp32")
    rows = tuple(
        row.model_copy(update={"node": f"node_{row.step}"}) for row in operators_of(artefact)
    )
    made = report(subject("a.onnx", Reading(backend="file", place=".onnx", operators=rows)))
    data = read(write_node_data(made, tmp_path / "nodes")[0])
    assert all(re.fullmatch(r"node_\d+", node) for node in data.results)


def test_calls_of_one_operator_are_added_up(tmp_path: Path) -> None:
    rows = tuple(
        OperatorRow(step=step, kind="CONV_2D", output="a", macs=macs, bytes_moved=1)
        for step, macs in enumerate((5, 7))
    )
    made = report(subject("model.c", Reading(backend="file", place=".c", operators=rows)))
    data = read(write_node_data(made, tmp_path)[0])
    assert {node: result.value for node, result in data.results.items()} == {"a": 12}


def test_models_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    def reading(macs: int) -> Reading:
        row = OperatorRow(step=0, kind="ADD", output="a", macs=macs)
        return Reading(backend="file", place=".c", operators=(row,))

    made = report(subject("model.c", reading(1)), subject("model.c", reading(2)))
    values = {read(path).results["a"].value for path in write_node_data(made, tmp_path)}
    assert values == {1, 2}


def test_what_a_place_is_called_makes_no_path(tmp_path: Path) -> None:
    row = OperatorRow(
        step=0, kind="ADD", output="a", value=1.0, unit="µs", provenance=Provenance.MEASURED_DEVICE
    )
    place = Reading(backend="ssh", place="../pi@host:22", operators=(row,))
    for path in write_node_data(report(subject("../x/model.c", place)), tmp_path):
        assert path.parent == tmp_path
        assert path.is_file()


def test_without_operators_or_folder_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no operators"):
        write_node_data(report(subject("a", host_reading())), tmp_path / "nodes")
    assert not (tmp_path / "nodes").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a folder"):
        write_node_data(report(), tmp_path / "file")
