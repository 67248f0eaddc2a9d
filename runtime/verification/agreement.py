"""Gates that compare: ``bit-exact`` of two kernels for one file, ``parity`` and ``twins`` of the
files of one network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.artefact import Artefact, GateResult
from runtime.engines import Array, EngineMissing, open_engine
from runtime.stft import FloatArray
from runtime.verification.frames import Loop, loop
from runtime.verification.likely import Symptom, likely_bug
from runtime.verification.results import judged, unavailable

PARITY_LIMIT = 1e-4
INTEGERS = ("tflite-int8", "tflite-int16x8")
FLOATS = ("tflite-fp32", "onnx-fp32", "c-fp32")
# Formats that must store the same values: the C generated from a TFLite file.
TWINS = {"c-int8": "tflite-int8", "c-int16x8": "tflite-int16x8"}


def oracle(artefact: Artefact) -> str | None:
    """The engine whose results count: reference kernels, not those made for speed."""
    return "litert-reference" if artefact.path.suffix == ".tflite" else None


def symptom(
    one: Sequence[Array], other: Sequence[Array], names: Sequence[str], limit: float
) -> Symptom | None:
    """How two traces ``[frames, *shape]`` differ by more than ``limit``; None if they do not."""
    pairs = [
        (name, left.astype(np.float64), right.astype(np.float64))
        for name, left, right in zip(names, one, other, strict=True)
    ]
    per_frame = {
        name: np.abs(left - right).reshape(len(left), -1).max(axis=1) for name, left, right in pairs
    }
    beyond = {name: ~(differences <= limit) for name, differences in per_frame.items()}
    frames = [int(np.argmax(where)) for where in beyond.values() if where.any()]
    if not frames:
        return None
    first = min(frames)
    worst = max(
        float(per_frame[name][first] / max(np.abs(left).max(), 1e-6)) for name, left, _ in pairs
    )
    concerned = tuple(name for name, where in beyond.items() if where[first])
    return Symptom(first, worst, concerned)


def bit_exact(artefact: Artefact, frames: FloatArray) -> GateResult:
    """TFLM against LiteRT's reference kernels, all outputs and states."""
    name, limit = "bit-exact", "0 LSB"
    try:
        models = [loop(open_engine(artefact, engine), artefact.sidecar) for engine in KERNELS]
    except EngineMissing as error:
        return unavailable(name, limit, f"{error.message} {error.hint}")
    one, other = (model.trace(model.store(frames), model.zeros()) for model in models)
    return _exact(name, one, other, artefact, "TFLM against LiteRT's reference kernels")


KERNELS = ("tflm", "litert-reference")


def twins(generated: Artefact, origin: Artefact, frames: FloatArray) -> GateResult:
    """The generated C against the TFLite file it came from."""
    name, limit = f"c-exact ({generated.sidecar.target})", "0 LSB"
    try:
        compiled = loop(open_engine(generated), generated.sidecar)
        reference = loop(open_engine(origin, oracle(origin)), origin.sidecar)
    except EngineMissing as error:
        return unavailable(name, limit, f"{error.message} {error.hint}")
    one = compiled.trace(compiled.store(frames), compiled.zeros())
    other = reference.trace(reference.store(frames), reference.zeros())
    return _exact(name, one, other, generated, f"{generated.path.name} against {origin.path.name}")


def _exact(
    name: str, one: list[Array], other: list[Array], artefact: Artefact, what: str
) -> GateResult:
    names = [spec.name for spec in artefact.sidecar.outputs]
    worst = max(
        int(np.abs(left.astype(np.int32) - right.astype(np.int32)).max())
        for left, right in zip(one, other, strict=True)
    )
    found = symptom(one, other, names, 0.0)
    findings = [] if found is None else [f"{worst} LSB, first in frame {found.first_frame}"]
    return judged(
        name,
        findings,
        f"0 LSB over {len(one[0])} frames",
        "0 LSB",
        detail=what,
        likely="" if found is None else _rounding(found),
    )


def _rounding(found: Symptom) -> str:
    """One step apart is rounding; more is another function."""
    if found.worst < 0.02:
        return f"an operator on the way to {found.outputs[0]} rounds differently"
    return likely_bug(found)


def parity(artefacts: Sequence[Artefact], frames: FloatArray) -> GateResult:
    """The float files of one network against the first of them, states fed back."""
    name, limit = "parity", f"≤ {PARITY_LIMIT:.0e}"
    try:
        models = [loop(open_engine(one, oracle(one)), one.sidecar) for one in artefacts]
    except EngineMissing as error:
        return unavailable(name, limit, f"{error.message} {error.hint}")
    traces = [model.trace(model.store(frames), model.zeros()) for model in models]
    return _parity(traces, models, [one.sidecar.target for one in artefacts])


def _parity(traces: list[list[Array]], models: list[Loop], formats: list[str]) -> GateResult:
    names = [spec.name for spec in models[0].sidecar.outputs]
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
