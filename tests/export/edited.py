"""Files broken on purpose: a TFLite file is parsed, edited and packed again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

Edit = Callable[[Any], None]


def rewritten(content: bytes, edit: Edit) -> bytes:
    """A TFLite file after ``edit`` changed its parsed model."""
    model = schema.ModelT.InitFromPackedBuf(content)
    edit(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor_named(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.subgraphs[0].tensors if tensor.name.decode() == name)
