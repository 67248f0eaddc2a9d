"""Gate ``bit-exact``: TFLM and LiteRT's reference kernels agree on every bit of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from export.gates.recurrence import Array, trace
from runtime.artefact import GateResult
from runtime.engines import EngineMissing, Port, engine_from_bytes
from targets.errors import InputError

NAME = "bit-exact"
LIMIT = "0 LSB"


def bit_exact(model: bytes, features: npt.NDArray[Any]) -> GateResult:
    """All outputs and states over ``features`` ``[frames, bins, 3]``, from two states.

    Half of the frames follow a random state over its whole range, where saturation is.
    Unavailable where an engine is not installed.
    """
    try:
        reference = engine_from_bytes("litert-reference", model)
        microcontroller = engine_from_bytes("tflm", model)
    except EngineMissing as error:
        return _result("not measured", "unavailable", f"{error.message} {error.hint}")
    except InputError as error:
        return _result("does not load", "fail", error.message)
    rng = np.random.default_rng(0)
    half = len(features) // 2
    worst, differing, total = 0, 0, 0
    for part, states in (
        (features[:half], _zeros(reference.inputs[1:])),
        (features[half:], _drawn(reference.inputs[1:], rng)),
    ):
        one, other = trace(reference, part, states), trace(microcontroller, part, states)
        for left, right in zip(one, other, strict=True):
            difference = np.abs(left.astype(np.int32) - right.astype(np.int32))
            worst = max(worst, int(difference.max()))
            differing += int(np.count_nonzero(difference))
            total += difference.size
    measured = f"{worst} LSB over {len(features)} frames"
    detail = f"{differing} of {total} values differ, TFLM against LiteRT's reference kernels"
    return _result(measured, "fail" if worst else "pass", detail)


def _zeros(ports: Sequence[Port]) -> list[Array]:
    return [np.zeros(port.shape, port.dtype) for port in ports]


def _drawn(ports: Sequence[Port], rng: np.random.Generator) -> list[Array]:
    drawn = []
    for port in ports:
        limits = np.iinfo(port.dtype)
        drawn.append(rng.integers(limits.min, limits.max + 1, port.shape).astype(port.dtype))
    return drawn


def _result(measured: str, verdict: str, detail: str) -> GateResult:
    return GateResult.model_validate(
        {"name": NAME, "measured": measured, "limit": LIMIT, "verdict": verdict, "detail": detail}
    )
