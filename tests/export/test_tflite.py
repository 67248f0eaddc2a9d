"""What is in a TFLite file once, though several operators need it."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from export.step_graph import Slice
from export.tflite import write_float
from tests.export.every_operator import every_operator


def test_equal_constants_are_stored_once() -> None:
    content = write_float(every_operator())
    model = schema.ModelT.InitFromPackedBuf(content)
    stored = [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None]
    assert len(stored) == len(set(stored))


def test_operators_may_share_indices() -> None:
    graph = every_operator()
    slices = [operator for operator in graph.operators if isinstance(operator, Slice)]
    subgraph = schema.ModelT.InitFromPackedBuf(write_float(graph)).subgraphs[0]
    names = [tensor.name.decode() for tensor in subgraph.tensors]
    indices = {tuple(values) for one in slices for values in (one.begin, one.end, one.strides)}
    bounds = [name for name in names if name.endswith(("/begin", "/end", "/strides"))]
    assert len(bounds) <= len(indices) < 3 * len(slices)
