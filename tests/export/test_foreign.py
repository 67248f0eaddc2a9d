"""Three architectures that are not sordino's own, from torch to the integers of a device."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from torch import nn

from export.calibration import calibrate
from export.executor import StepExecutor
from export.gates.bit_exact import bit_exact
from export.gates.no_float_weights import no_float_weights
from export.gates.recurrence import Runner, largest_difference, random_states, trace
from export.gates.stored_weights import stored_weights
from export.gates.structure import structure
from export.importing.student import check_student
from export.precision import wide_everywhere
from export.quantization import HIDDEN, QuantizedGraph, quantize_graph
from export.students import Student, foreign_student
from export.tflite import write_float, write_quantized
from export.verify import probe_features
from runtime.engines import engine_from_bytes
from runtime.stft import StftContract
from tests.export.foreign.trained import foreign

needs_tflm = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is built for x86-64 Linux only"
)

BINS = 64
FRAMES = 104
# Signal over quantization noise of the mask in dB that an untrained network keeps, roughly.
KEPT: Mapping[str, tuple[float, float]] = {
    "gtcrn-like": (30.0, 42.0),
    "dtln-like": (40.0, 60.0),
    "tcn": (30.0, 50.0),
}

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Subject:
    name: str
    network: nn.Module
    student: Student
    probe: Array
    quantized: Mapping[str, QuantizedGraph]
    files: Mapping[str, bytes]

    def stored(self, width: str) -> npt.NDArray[Any]:
        """The probe in integers."""
        affine = self.quantized[width].activations["features"]
        limits = np.iinfo(affine.precision)
        steps = np.rint(self.probe / np.float32(affine.scale)) + affine.zero_point
        return np.clip(steps, limits.min, limits.max).astype(affine.precision)


@pytest.fixture(
    scope="module",
    params=[
        "dtln-like",
        pytest.param("tcn", marks=pytest.mark.slow),
        pytest.param("gtcrn-like", marks=pytest.mark.slow),
    ],
)
def subject(
    request: pytest.FixtureRequest, contract: StftContract, signals: list[Array]
) -> Subject:
    network = foreign(request.param)
    student = foreign_student(network, BINS)
    calibration = calibrate(student.graph, contract, [signal[:8_000] for signal in signals])
    quantized = {
        "int8": quantize_graph(student.graph, calibration),
        "int16": quantize_graph(student.graph, calibration, wide_everywhere(student.graph)),
    }
    files = {width: write_quantized(graph) for width, graph in quantized.items()}
    probe = probe_features(contract, signals)[:FRAMES]
    return Subject(request.param, network, student, probe, quantized, files)


def test_it_is_a_student(subject: Subject) -> None:
    check_student(subject.network, BINS)


def test_a_sequence_is_the_same_as_its_steps(subject: Subject) -> None:
    student = subject.student
    whole = student.masks(subject.probe[None])[0]
    stepped = trace(student, subject.probe, student.initial_states())[0][:, 0, 0]
    np.testing.assert_allclose(stepped, whole, atol=1e-5)


def test_no_frame_hears_what_comes_later(subject: Subject) -> None:
    features = subject.probe[None, :30]
    later = features.copy()
    later[:, 20:] += 1.0
    for masks in (subject.student.masks, StepExecutor(subject.student.graph).masks):
        before, after = masks(features), masks(later)
        np.testing.assert_array_equal(after[:, :20], before[:, :20])
        assert not np.array_equal(after[:, 20], before[:, 20])


def test_torch_numpy_and_litert_compute_the_same(subject: Subject) -> None:
    states = random_states(subject.student.graph)
    reference = trace(subject.student, subject.probe, states)
    content = write_float(subject.student.graph)
    runners: dict[str, Runner] = {
        "numpy": StepExecutor(subject.student.graph),
        "litert": engine_from_bytes("litert", content),
        "reference": engine_from_bytes("litert-reference", content),
    }
    for name, runner in runners.items():
        difference = largest_difference(reference, trace(runner, subject.probe, states))
        assert difference <= 1e-4, name


@pytest.mark.parametrize("width", ["int8", "int16"])
def test_integer_files_hold_the_weights_and_nothing_else(subject: Subject, width: str) -> None:
    content, written = subject.files[width], subject.quantized[width].graph
    verdicts = {
        gate.name: gate.verdict
        for gate in (
            structure(content, written),
            stored_weights(content, written),
            no_float_weights(content, wide=width == "int16"),
        )
    }
    assert set(verdicts.values()) == {"pass"}, verdicts


@needs_tflm
@pytest.mark.parametrize("width", ["int8", "int16"])
def test_tflm_and_litert_agree_on_every_value(subject: Subject, width: str) -> None:
    result = bit_exact(subject.files[width], subject.stored(width))
    assert result.verdict == "pass", result


@pytest.mark.parametrize("width", ["int8", "int16"])
def test_integers_stay_close_to_the_float_network(subject: Subject, width: str) -> None:
    affine = subject.quantized[width].activations
    graph = subject.student.graph
    zeros = [
        np.full(state.input.shape, affine[state.input.name].zero_point, width)
        for state in graph.states
    ]
    engine = engine_from_bytes("litert-reference", subject.files[width])
    stored = trace(engine, subject.stored(width), zeros)[0].astype(np.float64)
    mask = (stored - affine["mask"].zero_point) * affine["mask"].scale
    wanted = trace(subject.student, subject.probe, subject.student.initial_states())[0]
    noise = float(np.sum(np.square(mask - wanted)))
    ratio = 10.0 * np.log10(float(np.sum(np.square(wanted.astype(np.float64)))) / noise)
    assert ratio > KEPT[subject.name][width == "int16"]


def test_hidden_states_have_the_scale_of_what_stays_within_one(subject: Subject) -> None:
    for state in subject.student.graph.states:
        recurrent = any(part in state.name for part in ("gru", "between", "_h"))
        affine = subject.quantized["int8"].activations[state.input.name]
        assert (affine == HIDDEN) == recurrent, state.name


def test_few_values_are_moved(subject: Subject) -> None:
    """Transpositions cost time on a microcontroller and compute nothing."""
    kinds = [type(operator).__name__ for operator in subject.student.graph.operators]
    assert kinds.count("Transpose") <= {"gtcrn-like": 4, "dtln-like": 0, "tcn": 0}[subject.name]


@pytest.mark.slow
@needs_tflm
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("width", ["int8", "int16"])
def test_generated_c_computes_what_tflm_computes(subject: Subject, width: str) -> None:
    from export.c.generator import generate
    from runtime.artefact import StateSpec, TensorSpec
    from runtime.engines.native import NativeEngine

    graph, affine = subject.student.graph, subject.quantized[width].activations

    def described(name: str, shape: tuple[int, ...]) -> TensorSpec:
        scale, zero = affine[name].scale, affine[name].zero_point
        return TensorSpec(
            name=name, shape=shape, dtype=cast(Any, width), scale=scale, zero_point=zero
        )

    engine = NativeEngine(
        generate(subject.files[width], "model").files,
        [described(tensor.name, tensor.shape) for tensor in graph.inputs],
        [described(tensor.name, tensor.shape) for tensor in graph.outputs],
        [
            StateSpec(name=state.name, input=state.input.name, output=state.output.name)
            for state in graph.states
        ],
    )
    zeros = [
        np.full(state.input.shape, affine[state.input.name].zero_point, width)
        for state in graph.states
    ]
    found = trace(engine, subject.stored(width), zeros)
    wanted = trace(engine_from_bytes("tflm", subject.files[width]), subject.stored(width), zeros)
    assert largest_difference(found, wanted) == 0.0
