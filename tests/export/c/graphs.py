"""Small TFLite files with any graph, also ones that no exporter would write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Edit = Callable[[Any], None]


@dataclass
class Graph:
    """A file under construction, of float32 tensors ``[4]`` unless said otherwise.

    Tensors are known by their names; an operator makes its output.
    """

    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    states: Mapping[str, str] = field(default_factory=dict)  # input → output
    tensors: dict[str, Any] = field(default_factory=dict)
    buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])
    operators: list[Any] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def tensor(
        self, name: str, shape: Sequence[int] = (4,), values: npt.NDArray[Any] | None = None
    ) -> str:
        if name not in self.tensors:
            record = schema.TensorT()
            record.name, record.shape, record.hasRank = name, list(shape), True
            record.type = schema.TensorType.FLOAT32
            if values is not None:
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(values.tobytes(), np.uint8)
                self.buffers.append(buffer)
                record.buffer = len(self.buffers) - 1
                record.shape = list(values.shape)
                if values.dtype == np.int32:
                    record.type = schema.TensorType.INT32
            self.tensors[name] = record
        return name

    def add(self, left: str, right: str, output: str) -> str:
        options = schema.AddOptionsT()
        return self.operator(
            "ADD", [left, right], output, schema.BuiltinOptions.AddOptions, options
        )

    def reshape(self, source: str, output: str, shape: Sequence[int] = (4,)) -> str:
        self.tensor(output, shape)
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        kind = schema.BuiltinOptions.ReshapeOptions
        return self.operator("RESHAPE", [source], output, kind, options)

    def operator(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str,
        options_type: int = 0,
        options: Any = None,
    ) -> str:
        code = getattr(schema.BuiltinOperator, kind)
        if code not in self.codes:
            self.codes.append(code)
        record = schema.OperatorT()
        record.opcodeIndex = self.codes.index(code)
        record.inputs = [self._index(name) for name in inputs]
        record.outputs = [self._index(output)]
        record.builtinOptionsType, record.builtinOptions = options_type, options
        self.operators.append(record)
        return output

    def _index(self, name: str) -> int:
        self.tensor(name)
        return list(self.tensors).index(name)

    def file(self, edit: Edit | None = None) -> bytes:
        """The bytes, after ``edit`` changed the model."""
        for name in (*self.inputs, *self.outputs):
            self.tensor(name)
        index = {name: number for number, name in enumerate(self.tensors)}
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = list(self.tensors.values()), self.operators
        graph.inputs = [index[name] for name in self.inputs]
        graph.outputs = [index[name] for name in self.outputs]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = []
        for code in self.codes:
            record = schema.OperatorCodeT()
            record.builtinCode = record.deprecatedBuiltinCode = code
            record.version = 1
            model.operatorCodes.append(record)
        if self.states:
            text = json.dumps({"schema": "sordino-step/1", "states": dict(self.states)})
            buffer, metadata = schema.BufferT(), schema.MetadataT()
            buffer.data = np.frombuffer(text.encode(), np.uint8)
            self.buffers.append(buffer)
            metadata.name, metadata.buffer = "sordino", len(self.buffers) - 1
            model.metadata = [metadata]
        if edit is not None:
            edit(model)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
