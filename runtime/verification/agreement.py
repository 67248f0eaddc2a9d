"""Gates that compare: ``bit-exact`` of two kernels for one file; ``parity``, ``twins`` and
``snr`` of the files of one network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from runtime.artefact import Artefact, GateResult
from runtime.engines import Array, EngineMissing, open_engine
from runtime.stft import FloatArray
from runtime.verification.frames import Loop, loop
from runtime.verification.likely import Symptom, likely_bug, symptom
from runtime.verification.results import judged, unavailable
from targets.errors import InputError

PARITY_LIMIT = 1e-4
FLOATS = ("tflite-fp32", "onnx-fp32", "c-fp32")
# Formats that must store the same values: the C generated from a TFLite file.
TWINS = {"c-int8": "tflite-int8", "c-int16x8": "tflite-int16x8"}
# Least SNR of masks in dB against the float file. Of `small` 73, 49, 29, 49 and 29 were measured,
# in this order; a model whose ranges clip peaks by half has 21.5.
SNR_LIMITS = {
    "tflite-fp16": 50.0,
    "tflite-int8w": 30.0,
    "tflite-int8": 22.0,
    "tflite-int16x8": 30.0,
    "onnx-int8": 22.0,
}
TUNED_LIMIT = 22.0  # where fine-tuning has moved the weights away from those of the float file
# Of the two int8 files, which round at other places; 38 dB were measured.
SAME_ROUNDING = 28.0
KERNELS = ("tflm", "litert-reference")

Report = Callable[[str, float], None]


def oracle(artefact: Artefact) -> str | None:
    """The engine whose results count: reference kernels, not those made for speed."""
    return "litert-reference" if artefact.path.suffix == ".tflite" else None


def bit_exact(artefact: Artefact, frames: FloatArray) -> GateResult:
    """TFLM against LiteRT's reference kernels, all outputs and states."""
    name, limit = "bit-exact", "0 LSB"
    try:
        models = [loop(open_engine(artefact, engine), artefact.sidecar) for engine in KERNELS]
    except EngineMissing as error:
        return unavailable(name, limit, f"{error.message} {error.hint}")
    except InputError as error:
        return judged(name, [error.message], "", limit)
    one, other = (model.trace(model.store(frames), model.zeros()) for model in models)
    return exact(name, one, other, artefact, "TFLM and LiteRT's reference kernels")


def compared(
    artefacts: Sequence[Artefact], frames: FloatArray, progress: Report
) -> Iterator[GateResult]:
    """All gates between the artefacts of one network that there is a partner for."""
    formats = {one.sidecar.target: one for one in artefacts}
    traced: dict[str, tuple[Loop, list[Array]]] = {}
    for index, (target, artefact) in enumerate(formats.items()):
        progress(target, index / len(formats))
        try:
            model = loop(open_engine(artefact, oracle(artefact)), artefact.sidecar)
        except EngineMissing as error:
            yield unavailable(f"agreement ({target})", "", f"{error.message} {error.hint}")
            continue
        except InputError:
            continue  # its own section says so
        traced[target] = model, model.trace(model.store(frames), model.zeros())
    floats = [target for target in FLOATS if target in traced]
    if len(floats) > 1:
        yield parity([traced[target][1] for target in floats], floats, _names(traced[floats[0]][0]))
    for generated, origin in TWINS.items():
        if generated in traced and origin in traced:
            (_, one), (_, other) = traced[generated], traced[origin]
            name = f"twins ({generated})"
            yield exact(name, one, other, formats[generated], f"{generated} and {origin}")
    masks = {target: model.mask(trace[0]) for target, (model, trace) in traced.items()}
    for target, limit in SNR_LIMITS.items():
        if floats and target in traced:
            tuned = "fine_tuning" in formats[target].sidecar.quantization
            least = TUNED_LIMIT if tuned else limit
            yield snr(target, masks[target], floats[0], masks[floats[0]], least)
    if {"onnx-int8", "tflite-int8"} <= traced.keys():
        yield same_rounding(masks["onnx-int8"], masks["tflite-int8"])


def _names(model: Loop) -> list[str]:
    return [spec.name for spec in model.sidecar.outputs]


def exact(
    name: str, one: list[Array], other: list[Array], artefact: Artefact, what: str
) -> GateResult:
    """Two traces of integers must be equal."""
    worst = max(
        int(np.abs(left.astype(np.int32) - right.astype(np.int32)).max())
        for left, right in zip(one, other, strict=True)
    )
    found = symptom(one, other, [spec.name for spec in artefact.sidecar.outputs], 0.0)
    findings = (
        []
        if found is None
        else [f"{worst} LSB, first in frame {found.first_frame} in {found.outputs[0]}"]
    )
    return judged(
        name,
        findings,
        f"0 LSB over {len(one[0])} frames",
        "0 LSB",
        detail=what,
        likely="" if found is None else _rounding(found, worst),
    )


def _rounding(found: Symptom, worst: int) -> str:
    """A few steps apart is rounding; more is another function."""
    if worst <= 4 and found.first_frame > 0:
        return "an operator rounds differently, and the recurrence carries it on"
    if worst <= 4:
        return f"an operator on the way to {found.outputs[0]} rounds differently"
    return likely_bug(found)


def parity(
    traces: Sequence[list[Array]], formats: Sequence[str], names: Sequence[str]
) -> GateResult:
    """The traces of float files against the first of them."""
    findings, likely, differences = [], "", []
    for trace, format in zip(traces[1:], formats[1:], strict=True):
        worst = max(
            float(np.abs(left - right).max()) for left, right in zip(traces[0], trace, strict=True)
        )
        differences.append(f"{format} {worst:.1e}")
        if found := symptom(traces[0], trace, names, PARITY_LIMIT):
            findings.append(f"{format} differs by {worst:.1e} from {formats[0]}")
            likely = likely or likely_bug(found)
    return judged(
        "parity",
        findings,
        f"{', '.join(differences)} over {len(traces[0][0])} frames",
        f"≤ {PARITY_LIMIT:.0e}",
        detail=f"from {formats[0]}",
        likely=likely,
    )


def snr(
    target: str, masks: FloatArray, against: str, reference: FloatArray, limit: float
) -> GateResult:
    """The masks of a file that rounds, as a signal with noise, against those of a float file."""
    found = decibels(reference, masks)
    measured = f"{found:.1f} dB"
    return judged(
        f"snr ({target})",
        [] if found >= limit else [measured],
        measured,
        f"≥ {limit:g} dB",
        detail=f"masks, against {against}",
        likely="a range that clips peaks, or states that were calibrated at zero",
    )


def same_rounding(masks: FloatArray, reference: FloatArray) -> GateResult:
    """ONNX Runtime's int8 arithmetic beside TFLite's: the same scales and weights, another
    rounding in between."""
    found = decibels(reference, masks)
    measured = f"{found:.1f} dB"
    return judged(
        "twins (onnx-int8)",
        [] if found >= SAME_ROUNDING else [measured],
        measured,
        f"≥ {SAME_ROUNDING:g} dB",
        detail="masks of onnx-int8 and tflite-int8",
        likely="the two were written from different scales or weights",
    )


def decibels(reference: FloatArray, values: FloatArray) -> float:
    """Energy of ``reference`` over that of the difference, in dB; −∞ where one is no number."""
    wanted = reference.astype(np.float64)
    error = float(np.square(values - wanted).sum())
    if not np.isfinite(error):
        return -np.inf
    return float(10 * np.log10(np.square(wanted).sum() / max(error, 1e-30)))
