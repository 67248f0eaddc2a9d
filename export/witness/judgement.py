"""Gates ``witness-float`` and ``witness-int8``: our files beside those of another converter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.mixing import Mixture
from export.calibration import calibrate, stack_features
from export.gates.recurrence import Runner, largest_difference, random_states, trace
from export.gates.tflite_file import read_model
from export.material import Material, Signal
from export.quality import denoise_side_by_side, snr_db
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import StepGraph
from export.tflite import write_float, write_quantized
from export.witness.conversion import (
    ConvertedStep,
    convert_float,
    convert_int8,
    load_tensorflow,
)
from runtime.artefact import GateResult, TensorSpec
from runtime.engines import engine_from_bytes
from runtime.metrics import si_sdr
from runtime.stepper import dequantize, quantize
from runtime.stft import StftContract, analyse, apply_mask, synthesise
from targets.errors import GateUnavailable

FLOAT, INT8 = "witness-float", "witness-int8"
FRAMES = 300
LARGEST_DIFFERENCE = 1e-4
LARGEST_LOSS_DB = 0.1  # of SI-SDR
# A file that computes something else may by luck score better; two sound files differ by a dB.
LARGEST_SNR_LOSS_DB = 3.0

Array = npt.NDArray[Any]


def witness(
    graph: StepGraph,
    contract: StftContract,
    material: Material,
    quantized: QuantizedGraph | None = None,
) -> list[GateResult]:
    """Both gates. ``quantized`` is what our int8 file is written from, by default the graph
    calibrated on the same frames as the converter's.

    Where TensorFlow is missing both are unavailable.
    """
    try:
        load_tensorflow()
    except GateUnavailable as error:
        detail = f"{error.message} {error.hint}"
        return [
            GateResult(
                name=name,
                measured="not measured",
                limit=limit,
                verdict="unavailable",
                detail=detail,
            )
            for name, limit in ((FLOAT, _FLOAT_LIMIT), (INT8, _INT8_LIMIT))
        ]
    if quantized is None:
        quantized = quantize_graph(graph, calibrate(graph, contract, material.calibration))
    features = stack_features(contract, material.calibration)
    probe = stack_features(contract, [item.noisy for item in material.held_out])
    frames = np.resize(probe.reshape(-1, *probe.shape[2:]), (FRAMES, *probe.shape[2:]))
    return [
        float_witness(graph, write_float(graph), convert_float(graph), frames),
        int8_witness(quantized, convert_int8(graph, features), contract, material.held_out, graph),
    ]


_FLOAT_LIMIT = f"≤ {LARGEST_DIFFERENCE:.0e}"
_INT8_LIMIT = (
    f"SI-SDR at most {LARGEST_LOSS_DB:g} dB, SNR to float at most {LARGEST_SNR_LOSS_DB:g} dB "
    "below the converter's"
)


def float_witness(
    graph: StepGraph, ours: bytes, theirs: bytes, frames: npt.NDArray[np.float32]
) -> GateResult:
    """Mask and states of two float files over ``frames`` ``[frames, bins, 3]``, from one random
    state, each feeding its own states back."""
    states = random_states(graph)
    difference = largest_difference(
        trace(engine_from_bytes("litert-reference", ours), frames, states),
        trace(ConvertedStep(theirs), frames, states),
    )
    return GateResult(
        name=FLOAT,
        measured=f"{difference:.1e} over {len(frames)} frames",
        limit=_FLOAT_LIMIT,
        verdict="pass" if difference <= LARGEST_DIFFERENCE else "fail",
        detail=_side_by_side(ours, theirs),
    )


def int8_witness(
    quantized: QuantizedGraph,
    theirs: bytes,
    contract: StftContract,
    mixtures: Sequence[Mixture],
    graph: StepGraph,
) -> GateResult:
    """Our int8 file and the converter's on the same mixtures: SI-SDR to the clean speech, and SNR
    to what the float graph makes of them."""
    ours = write_quantized(quantized)
    mixtures = [item for item in mixtures if np.any(item.clean)]
    signals = [item.noisy for item in mixtures]
    exact = denoise_side_by_side(graph, contract, signals)
    converted = ConvertedStep(theirs)
    estimates = {
        "ours": _denoised(IntegerStep(quantized, ours), graph, contract, signals),
        "theirs": _denoised(converted, graph, contract, signals),
    }
    snr = {name: _mean(map(snr_db, exact, made)) for name, made in estimates.items()}
    score = {
        name: _mean(si_sdr(item.clean, one) for item, one in zip(mixtures, made, strict=True))
        for name, made in estimates.items()
    }
    passed = (
        score["theirs"] - score["ours"] <= LARGEST_LOSS_DB
        and snr["theirs"] - snr["ours"] <= LARGEST_SNR_LOSS_DB
    )
    untied = converted.untied_states()
    return GateResult(
        name=INT8,
        measured=f"SI-SDR {score['ours']:.2f} dB (the converter's {score['theirs']:.2f}), "
        f"SNR {snr['ours']:.1f} dB ({snr['theirs']:.1f})",
        limit=_INT8_LIMIT,
        verdict="pass" if passed else "fail",
        detail=f"{_side_by_side(ours, theirs)}; it changes the scale of {untied} of "
        f"{len(graph.states)} states on their way round",
    )


@dataclass
class IntegerStep:
    """Runs a file of ours on LiteRT's reference kernels, in real numbers."""

    quantized: QuantizedGraph = field(repr=False)
    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        self._engine = engine_from_bytes("litert-reference", self.content)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        graph = self.quantized.graph
        stored = [
            quantize(values, self._spec(tensor.name, tensor.shape))
            for values, tensor in zip(inputs, graph.inputs, strict=True)
        ]
        return [
            dequantize(values, self._spec(tensor.name, tensor.shape))
            for values, tensor in zip(self._engine.run(stored), graph.outputs, strict=True)
        ]

    def _spec(self, name: str, shape: tuple[int, ...]) -> TensorSpec:
        affine = self.quantized.activations[name]
        return TensorSpec(
            name=name,
            shape=shape,
            dtype=affine.precision,
            scale=affine.scale,
            zero_point=affine.zero_point,
        )


def _denoised(
    runner: Runner, graph: StepGraph, contract: StftContract, signals: Sequence[Signal]
) -> list[Signal]:
    states = [np.zeros(state.input.shape, np.float32) for state in graph.states]
    estimates = []
    for signal in signals:
        masks = trace(runner, stack_features(contract, [signal])[0], states)[0][:, 0, 0]
        spectra = analyse(contract, signal)
        masked = apply_mask(contract, spectra, masks[: len(spectra)])
        estimates.append(synthesise(contract, masked, len(signal)))
    return estimates


def _side_by_side(ours: bytes, theirs: bytes) -> str:
    def described(content: bytes) -> str:
        counts = read_model(content).operator_counts()
        return f"{sum(counts.values())} operators in {len(content):,} bytes"

    version = metadata.version("tensorflow")
    text = f"{described(ours)}, TensorFlow {version}: {described(theirs)}"
    mine, other = (read_model(one).operator_counts() for one in (ours, theirs))
    if mine == other:
        return f"{text}, the same operators"
    added = {name: other.get(name, 0) - mine.get(name, 0) for name in sorted({*mine, *other})}
    changes = ", ".join(f"{count:+d} {name}" for name, count in added.items() if count)
    return f"{text} ({changes})"


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
