"""What is in a TFLite file once, though several operators need it."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from export.step_graph import Elementwise, Slice, StepGraph, Tensor
from export.tflite import write_float
from tests.export.every_operator import every_operator


def test_equal_constants_are_stored_once() -> None:
    content = write_float(every_operator())
    model = schema.ModelT.InitFromPackedBuf(content)
    stored = [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None]
    assert len(stored) == len(set(stored))


def test_operators_share_the_indices_they_read_at() -> None:
    entry = Tensor("features", (1, 1, 8, 3))
    parts = [Tensor(name, (1, 1, 4, 3)) for name in ("one", "other")]
    mask = Tensor("mask", (1, 1, 4, 3))
    taken = [Slice(part, entry, (0, 0, 2, 0)) for part in parts]
    graph = StepGraph(entry, mask, (), (*taken, Elementwise("add", mask, *parts)))
    subgraph = schema.ModelT.InitFromPackedBuf(write_float(graph)).subgraphs[0]
    first, second, _ = subgraph.operators
    assert list(first.inputs) == list(second.inputs)
    assert len(subgraph.tensors) == 7  # features, begin, end, strides, both parts and the mask
