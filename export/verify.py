"""Which gates an export must pass: on the network, on the float files, on each file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from export.calibration import stack_features
from export.executor import PreciseExecutor
from export.formats import Emitted, Format
from export.gates.bit_exact import bit_exact
from export.gates.causality import causality
from export.gates.fidelity import quantized_versus_float
from export.gates.generated_c import c_exact
from export.gates.integer_kernels import integer_kernels
from export.gates.no_float_weights import no_float_weights
from export.gates.onnx_int8 import onnx_int8_structure
from export.gates.onnx_structure import onnx_structure
from export.gates.parity import parity
from export.gates.recurrence import Runner
from export.gates.responds import responds
from export.gates.scale_floor import scale_floor
from export.gates.sequence import sequence_equals_step
from export.gates.stored_weights import stored_weights
from export.gates.structure import structure
from export.gates.weight_types import weight_types
from export.material import Signal
from export.quality import Comparison
from export.step_graph import StepGraph
from export.students import Student
from runtime.artefact import C_MODEL, GateResult, Sidecar
from runtime.engines import engine_from_bytes
from runtime.stepper import quantize, zero_of
from runtime.stft import StftContract, features
from runtime.verification.c_audio import c_audio, has_audio
from runtime.verification.c_source import c_compiles

PARITY_FRAMES = 1_000
BIT_EXACT_FRAMES = 300
RESPONSE_FRAMES = 60
FLOAT_ENGINES: dict[Format, str] = {"tflite-fp32": "litert", "onnx-fp32": "onnxruntime"}

Features = npt.NDArray[np.float32]


def probe_features(contract: StftContract, signals: Sequence[Signal]) -> Features:
    """Features ``[PARITY_FRAMES, bins, 3]`` of real signals, repeated if they are too short."""
    joined = stack_features(contract, signals).reshape(-1, contract.bins, 3)
    return np.resize(joined, (PARITY_FRAMES, contract.bins, 3))


def verify_network(student: Student, probe: Features) -> list[GateResult]:
    """Gates on the torch network itself."""
    return [sequence_equals_step(student, probe), causality(student)]


def verify_parity(student: Student, files: Mapping[Format, bytes], probe: Features) -> GateResult:
    """One gate over all float files and the numpy executor."""
    runners: dict[str, Runner] = {"step graph": PreciseExecutor(student.graph)}
    for name, content in files.items():
        runners[name] = engine_from_bytes(FLOAT_ENGINES[name], content)
    return parity(student, runners, probe)


def verify_file(
    emitted: Emitted,
    graph: StepGraph,
    sidecar: Sidecar,
    probe: Features,
    comparison: Comparison | None,
) -> list[GateResult]:
    """Gates on the bytes of one file; ``comparison`` is that of a file whose values differ from
    the float graph's. A quantized file is judged against the quantized graph it was written
    from."""
    match emitted.format:
        case "onnx-fp32":
            gates = [onnx_structure(emitted.content, graph)]
        case "onnx-int8":
            gates = _onnx_int8_gates(emitted)
        case "tflite-fp16":
            gates = [weight_types(emitted.content, graph, "FLOAT16")]
        case "tflite-int8w":
            gates = [weight_types(emitted.content, graph, "INT8")]
        case _:
            gates = _tflite_gates(emitted, graph, sidecar, probe)
    gates.append(_responds(emitted, sidecar, probe))
    if comparison is not None:
        gates.append(quantized_versus_float(comparison))
    return gates


def verify_generated(emitted: Emitted, sidecar: Sidecar, probe: Features) -> list[GateResult]:
    """Gates on generated C, beside those of the TFLite file it came from."""
    sources = {C_MODEL: emitted.content, **emitted.sources}
    stored = quantize(probe, sidecar.inputs[0])
    gates = [c_compiles(sources), c_exact(sources, emitted.origin, sidecar, stored)]
    return [*gates, c_audio(sources, sidecar)] if has_audio(sources) else gates


def _onnx_int8_gates(emitted: Emitted) -> list[GateResult]:
    if emitted.quantized is None:
        raise ValueError("an onnx-int8 file is written from a quantized graph")
    return [
        onnx_int8_structure(emitted.content, emitted.quantized),
        integer_kernels(emitted.content),
    ]


def _tflite_gates(
    emitted: Emitted, graph: StepGraph, sidecar: Sidecar, probe: Features
) -> list[GateResult]:
    content = emitted.content
    if emitted.quantized is None:
        return [structure(content, graph), stored_weights(content, graph)]
    written = emitted.quantized.graph
    stored = quantize(probe[:BIT_EXACT_FRAMES], sidecar.inputs[0])
    return [
        structure(content, written),
        stored_weights(content, written),
        scale_floor(content),
        no_float_weights(content, wide=bool(emitted.quantized.wide)),
        bit_exact(content, stored),
    ]


def oracle_of(format: Format) -> str:
    """The engine whose results count for a format."""
    if format.startswith("onnx"):
        return "onnxruntime"
    return FLOAT_ENGINES.get(format, "litert-reference")


def _responds(emitted: Emitted, sidecar: Sidecar, probe: Features) -> GateResult:
    name = oracle_of(emitted.format)
    contract = sidecar.contract
    silent = features(contract, np.zeros((RESPONSE_FRAMES, contract.frequencies), np.complex64))
    entry = sidecar.inputs[0]
    return responds(
        engine_from_bytes(name, emitted.content),
        quantize(probe[:RESPONSE_FRAMES], entry),
        quantize(silent, entry),
        [zero_of(spec) for spec in sidecar.inputs[1:]],
        [spec.name for spec in sidecar.outputs],
    )
