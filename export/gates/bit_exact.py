"""Gate ``bit-exact``: TFLM and LiteRT's reference kernels agree on every bit of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.gates.recurrence import Array, trace
from runtime.artefact import GateResult
from runtime.engines import Engine, EngineMissing, Port, engine_from_bytes
from targets.errors import InputError

NAME = "bit-exact"
LIMIT = "0 LSB"


def bit_exact(model: bytes, features: npt.NDArray[Any]) -> GateResult:
    """All outputs and states over ``features`` ``[frames, bins, 3]``, as stored.

    Unavailable where an engine is not installed.
    """
    try:
        reference = engine_from_bytes("litert-reference", model)
        microcontroller = engine_from_bytes("tflm", model)
    except EngineMissing as error:
        return _result("not measured", "unavailable", f"{error.message} {error.hint}")
    except InputError as error:
        return _result("does not load", "fail", error.message)
    found = differences(reference, microcontroller, features)
    measured = f"{found.worst:.0f} LSB over {len(features)} frames"
    detail = f"{found.differing} of {found.total} values differ, TFLM against LiteRT's reference"
    return _result(measured, "fail" if found.worst else "pass", detail)


@dataclass(frozen=True)
class Differences:
    """The largest difference of two engines, how many values differ at all, and of how many."""

    worst: float
    differing: int
    total: int


def differences(one: Engine, other: Engine, features: npt.NDArray[Any]) -> Differences:
    """All outputs and states over ``features`` ``[frames, bins, 3]``, from two states.

    Half of the frames follow zeros, half a random state: over its whole range where it is of
    integers, within ±1 where it is not.
    """
    rng = np.random.default_rng(0)
    half = len(features) // 2
    worst, differing, total = 0.0, 0, 0
    for part, states in (
        (features[:half], _zeros(one.inputs[1:])),
        (features[half:], _drawn(one.inputs[1:], rng)),
    ):
        for left, right in zip(trace(one, part, states), trace(other, part, states), strict=True):
            difference = np.abs(left.astype(np.float64) - right.astype(np.float64))
            largest = float(difference.max())
            worst = max(worst, largest if np.isfinite(largest) else float("inf"))
            differing += int(np.count_nonzero(difference))
            total += difference.size
    return Differences(worst, differing, total)


def _zeros(ports: Sequence[Port]) -> list[Array]:
    return [np.zeros(port.shape, port.dtype) for port in ports]


def _drawn(ports: Sequence[Port], rng: np.random.Generator) -> list[Array]:
    drawn: list[Array] = []
    for port in ports:
        if port.dtype == "float32":
            drawn.append(rng.uniform(-1.0, 1.0, port.shape).astype(port.dtype))
            continue
        limits = np.iinfo(port.dtype)
        drawn.append(rng.integers(limits.min, limits.max + 1, port.shape).astype(port.dtype))
    return drawn


def _result(measured: str, verdict: str, detail: str) -> GateResult:
    return GateResult.model_validate(
        {"name": NAME, "measured": measured, "limit": LIMIT, "verdict": verdict, "detail": detail}
    )
