"""Gate ``c-exact``: generated C computes what its model does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from export.gates.bit_exact import differences
from runtime.artefact import GateResult, Sidecar
from runtime.engines import EngineMissing, engine_from_bytes
from runtime.engines.native import NativeEngine
from targets.errors import InputError

FLOAT_LIMIT = 1e-4  # C has its own exponential: see kernels/activation


def c_exact(
    sources: Mapping[str, bytes], origin: bytes, sidecar: Sidecar, features: npt.NDArray[Any]
) -> GateResult:
    """Mask and states of the C, compiled here, against the TFLite file it was generated from,
    over ``features`` ``[frames, bins, 3]`` as stored.

    Integer models must agree with TFLM on every bit, float ones with LiteRT within a limit.
    Unavailable where an engine or a compiler is missing.
    """
    integer = sidecar.inputs[0].dtype != "float32"
    oracle = "tflm" if integer else "litert-reference"
    limit = "0 LSB" if integer else f"≤ {FLOAT_LIMIT:.0e}"
    try:
        reference = engine_from_bytes(oracle, origin)
        compiled = NativeEngine(sources, sidecar.inputs, sidecar.outputs, sidecar.states)
    except EngineMissing as error:
        return _exact("not measured", limit, "unavailable", f"{error.message} {error.hint}")
    except InputError as error:
        return _exact("does not run", limit, "fail", error.message)
    found = differences(reference, compiled, features)
    worst = f"{found.worst:.0f} LSB" if integer else f"{found.worst:.1e}"
    passed = found.worst == 0 if integer else found.worst <= FLOAT_LIMIT
    return _exact(
        f"{worst} over {len(features)} frames",
        limit,
        "pass" if passed else "fail",
        f"{found.differing} of {found.total} values differ from {oracle}",
    )


def _exact(measured: str, limit: str, verdict: str, detail: str) -> GateResult:
    return GateResult.model_validate(
        {
            "name": "c-exact",
            "measured": measured,
            "limit": limit,
            "verdict": verdict,
            "detail": detail,
        }
    )
