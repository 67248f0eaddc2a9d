"""Gates on the bytes of an ONNX file and its sidecar, the same as on a TFLite file as far as they
have a meaning there. Float tensors stand between the operators of a quantized one, too: what is
int8 shows in what feeds QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import Artefact, GateResult, Sidecar
from runtime.modelfile.flatbuffer import Record
from runtime.modelfile.onnx_schema import SCHEMA, TYPES
from runtime.modelfile.protobuf import read_protobuf
from runtime.verification.file import (
    finite_constants,
    operators_known,
    scale_floor,
    weights_judged,
)
from runtime.verification.results import judged

# Operators with a weight, and its place among their inputs.
WEIGHTED = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (0, 1)}
WEIGHTED |= {"GRU": (1, 2), "LSTM": (1, 2), "RNN": (1, 2)}
MOVES = frozenset(("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Identity"))  # of constants
WEIGHTS = {"onnx-fp32": "float32", "onnx-int8": "int8"}
PACKED, UNPACKED = "QuantizeLinear", "DequantizeLinear"

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class _File:
    """A checked file: its nodes, which of them computes a tensor, and its constants."""

    nodes: list[Record] = field(repr=False)
    computed: dict[str, Record] = field(repr=False)
    constants: dict[str, Values] = field(repr=False)

    def constant_behind(self, name: str) -> str | None:
        """The stored constant that a tensor is a rearrangement or unpacking of, if it is one."""
        while name not in self.constants:
            node = self.computed.get(name)
            if node is None or node["op_type"] not in MOVES | {UNPACKED}:
                return None
            name = node["input"][0]
        return name


def onnx_gates(artefact: Artefact, content: bytes) -> list[GateResult]:
    """All gates on an .onnx file that ``check_onnx`` takes."""
    file, sidecar = _read(content), artefact.sidecar
    kinds = [node["op_type"] for node in file.nodes]
    return [
        operators_known(kinds, sidecar.target),
        _weight_types(file, sidecar.target),
        *([scale_floor(_scales(file))] if sidecar.target == "onnx-int8" else []),
        finite_constants(
            {name: values for name, values in file.constants.items() if values.dtype.kind == "f"}
        ),
        *([_state_symmetry(file, sidecar)] if sidecar.target == "onnx-int8" else []),
    ]


def _read(content: bytes) -> _File:
    graph = read_protobuf(content, SCHEMA, "Model")["graph"]
    constants = {one["name"]: _values(content, one) for one in graph["initializer"]}
    for node in graph["node"]:
        for attribute in node["attribute"]:
            if node["op_type"] == "Constant" and attribute["t"] is not None:
                constants[node["output"][0]] = _values(content, attribute["t"])
    computed = {name: node for node in graph["node"] for name in node["output"]}
    return _File(list(graph["node"]), computed, constants)


def _values(content: bytes, record: Record) -> Values:
    dtype, _, listed = TYPES[record["data_type"]]
    if (raw := record["raw_data"]) is not None:
        flat = np.frombuffer(content[raw.start : raw.start + raw.size], dtype)
    elif dtype == "float16":  # listed as the bits of the number
        flat = np.asarray(record[listed], np.uint16).view(np.float16)
    else:
        flat = np.asarray(record[listed]).astype(dtype)
    return flat.reshape(record["dims"])


def _weight_types(file: _File, target: str) -> GateResult:
    kinds: dict[str, str] = {}
    for node in file.nodes:
        for place in WEIGHTED.get(node["op_type"], ()):
            name = node["input"][place]
            if (stored := file.constant_behind(name)) is not None:
                kinds[stored] = str(file.constants[stored].dtype)
    wanted = WEIGHTS[target]
    findings = [f"the weight {name} is {kind}" for name, kind in kinds.items() if kind != wanted]
    return weights_judged(findings, len(kinds), wanted)


def _scales(file: _File) -> dict[str, float]:
    """Of every QuantizeLinear and DequantizeLinear the smallest scale."""
    names = {node["input"][1] for node in file.nodes if node["op_type"] in (PACKED, UNPACKED)}
    return {name: float(file.constants[name].min()) for name in names if name in file.constants}


def _state_symmetry(file: _File, sidecar: Sidecar) -> GateResult:
    """A state enters the integers by the scale and zero point by which it left them."""
    entries = {node["input"][0]: node for node in file.nodes if node["op_type"] == PACKED}
    findings = []
    for state in sidecar.states:
        before, after = entries.get(state.input), file.computed.get(state.output)
        if before is None or after is None or after["op_type"] != UNPACKED:
            findings.append(f"state {state.name} is not kept in integers")
            continue
        for what, place in (("scale", 1), ("zero point", 2)):
            one, other = (file.constants.get(node["input"][place]) for node in (before, after))
            if one is None or other is None or not np.array_equal(one, other):
                findings.append(f"state {state.name} changes its {what}")
    return judged(
        "state-symmetry",
        findings,
        f"{len(sidecar.states)} states",
        "equal form on both sides of a step",
        likely="input and output of a state were calibrated apart",
    )
