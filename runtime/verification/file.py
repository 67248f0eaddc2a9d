"""Gates on the bytes of a TFLite file and its sidecar: ``structure``, ``weight-types``,
``scale-floor``, ``finite-constants`` and ``state-symmetry``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import Artefact, GateResult, Sidecar
from runtime.modelfile.tflite import TfliteModel, check_tflite
from runtime.modelfile.tflite_tensors import TfliteTensor
from runtime.verification.results import judged
from targets.catalog import load_target

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
WEIGHT_PLACE = 1  # among the inputs of all of them
# Types that activations and weights have, by format; weights may be unpacked by a DEQUANTIZE.
ACTIVATIONS = {
    "tflite-int8": ("int8", "int16"),  # int16 in a mix that a quality budget asked for
    "tflite-int16x8": ("int16",),
    "tflite-fp32": ("float32",),
    "tflite-fp16": ("float32",),
    "tflite-int8w": ("float32",),
}
WEIGHTS = {
    "tflite-int8": "int8",
    "tflite-int16x8": "int8",
    "tflite-fp32": "float32",
    "tflite-fp16": "float16",
    "tflite-int8w": "int8",
}
QUANTIZED = ("tflite-int8", "tflite-int16x8", "tflite-int8w")  # formats with scales
SCALE_FLOOR = 1e-9  # calibration on zero states leaves scales of 1e-12


def file_gates(artefact: Artefact, content: bytes) -> list[GateResult]:
    """All gates on a .tflite file that :func:`check_tflite` takes. Raises ModelRefused."""
    model = check_tflite(content, artefact.path.name)
    sidecar = artefact.sidecar
    return [
        structure(model, sidecar),
        weight_types(model, sidecar),
        *([scale_floor(_scales(model))] if sidecar.target in QUANTIZED else []),
        finite_constants(_float_constants(model, content)),
        state_symmetry(model, sidecar),
    ]


def structure(model: TfliteModel, sidecar: Sidecar) -> GateResult:
    """Names and shapes are the sidecar's, operators those that the format's runtime has, and no
    input is an output. One subgraph with static shapes is all that a checked file can hold."""
    findings = []
    for side, places, specs in (
        ("input", model.inputs, sidecar.inputs),
        ("output", model.outputs, sidecar.outputs),
    ):
        found = [(model.tensors[place].name, model.tensors[place].shape) for place in places]
        if found != [(spec.name, spec.shape) for spec in specs]:
            findings.append(f"the {side}s are not those of the sidecar")
    if both := set(model.inputs) & set(model.outputs):
        findings.append(f"{model.tensors[min(both)].name} is an input and an output")
    kinds = [operator.name for operator in model.operators]
    return operators_known(kinds, sidecar.target, findings)


def operators_known(kinds: Sequence[str], target: str, findings: Sequence[str] = ()) -> GateResult:
    """Gate ``structure``: ``findings`` so far, and every operator that the format's runtime has
    no kernel for."""
    known, used = set(load_target(target).operators), set(kinds)
    strangers = [f"{name} is no operator of {target}" for name in sorted(used - known)]
    return judged(
        "structure",
        [*findings, *strangers],
        f"{len(kinds)} operators, {len(used)} kinds",
        "one static graph, the sidecar's interface, operators of the runtime",
        likely="the file was made or edited by another tool than its sidecar",
    )


def weight_types(model: TfliteModel, sidecar: Sidecar) -> GateResult:
    """A model can be called int8 and keep float weights where a converter lacked a rule."""
    wanted, activations = WEIGHTS[sidecar.target], ACTIVATIONS[sidecar.target]
    findings = [
        f"the weight {weight.name} is {weight.dtype}"
        for weight in _weights(model)
        if weight.dtype != wanted
    ]
    unpacked = {op.outputs[0] for op in model.operators if op.name == "DEQUANTIZE"}
    computed = [place for op in model.operators for place in op.outputs if place not in unpacked]
    findings += [
        f"{tensor.name} is {tensor.dtype}"
        for tensor in (model.tensors[place] for place in (*model.inputs, *computed))
        if tensor.dtype not in activations
    ]
    number = sum(1 for _ in _weights(model))
    return weights_judged(findings, number, wanted, " or ".join(activations))


def weights_judged(
    findings: Sequence[str], number: int, wanted: str, activations: str = ""
) -> GateResult:
    """Gate ``weight-types`` over ``number`` weights that must be stored as ``wanted``."""
    return judged(
        "weight-types",
        findings,
        f"{number} weights, all {wanted}",
        f"weights {wanted}" + (f", activations {activations}" if activations else ""),
        likely="a converter without a rule for this operator left it in float",
    )


def _weights(model: TfliteModel) -> Iterator[TfliteTensor]:
    """The stored weight of every convolution, behind a DEQUANTIZE where there is one."""
    packed = {op.outputs[0]: op.inputs[0] for op in model.operators if op.name == "DEQUANTIZE"}
    for operator in model.operators:
        if operator.name in WEIGHTED:
            place = operator.inputs[WEIGHT_PLACE]
            yield model.tensors[packed.get(place, place)]


def scale_floor(scales: Mapping[str, float]) -> GateResult:
    """The smallest scale of the file, by tensor; calibration on zero states pins those of the
    states."""
    smallest = min(scales, key=lambda name: scales[name], default="")
    low = [f"{scales[name]:.1e} in {name}" for name in scales if not scales[name] >= SCALE_FLOOR]
    return judged(
        "scale-floor",
        low,
        f"{scales[smallest]:.1e} in {smallest}" if scales else "no quantized tensor",
        f"≥ {SCALE_FLOOR:.0e}",
        likely="calibrated with states that were always zero",
    )


def finite_constants(constants: Mapping[str, npt.NDArray[Any]]) -> GateResult:
    """Float constants hold numbers. (Scales that are none are refused on reading.)"""
    findings = [
        f"{name} holds NaN or infinity"
        for name, values in constants.items()
        if not np.isfinite(values).all()
    ]
    return judged(
        "finite-constants",
        findings,
        f"{sum(values.size for values in constants.values())} float constants",
        "all finite",
        likely="training diverged, or the weights are of a damaged checkpoint",
    )


def _scales(model: TfliteModel) -> dict[str, float]:
    return {
        tensor.name: min(tensor.scales)
        for tensor in model.tensors
        if tensor.scales and tensor.dtype in ("int8", "int16")
    }


def _float_constants(model: TfliteModel, content: bytes) -> dict[str, npt.NDArray[Any]]:
    kinds = {"float32": "<f4", "float16": "<f2"}
    return {
        tensor.name: np.frombuffer(
            content[tensor.span.start : tensor.span.start + tensor.span.size], kinds[tensor.dtype]
        )
        for tensor in model.tensors
        if tensor.span is not None and tensor.dtype in kinds
    }


def state_symmetry(model: TfliteModel, sidecar: Sidecar) -> GateResult:
    """Each state leaves a step in the form in which it enters the next: bytes are copied."""
    inputs = {model.tensors[place].name: model.tensors[place] for place in model.inputs}
    outputs = {model.tensors[place].name: model.tensors[place] for place in model.outputs}
    findings = []
    for state in sidecar.states:
        before, after = inputs.get(state.input), outputs.get(state.output)
        if before is None or after is None:
            findings.append(f"state {state.name} is not in the file")
            continue
        for part in ("shape", "dtype", "scales", "zero_points"):
            if getattr(before, part) != getattr(after, part):
                findings.append(f"state {state.name} changes its {part.replace('_', ' ')}")
    return judged(
        "state-symmetry",
        findings,
        f"{len(sidecar.states)} states",
        "equal form on both sides of a step",
        likely="input and output of a state were calibrated apart",
    )
