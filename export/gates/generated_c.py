"""Gates ``c-compiles`` and ``c-exact``: generated C is clean and computes what its model does."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from export.gates.bit_exact import differences
from runtime.artefact import C_MODEL, GateResult, Sidecar
from runtime.engines import EngineMissing, engine_from_bytes
from runtime.engines.native import NativeEngine
from targets.errors import InputError

COMPILERS = ("gcc", "clang")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror", "-O2")
COMPILE_SECONDS = 120.0
FLOAT_LIMIT = 1e-4  # C has its own exponential: see kernels/activation


def c_compiles(sources: Mapping[str, bytes]) -> GateResult:
    """The model must compile without a warning under every compiler found here."""
    found = [name for name in COMPILERS if shutil.which(name)]
    findings = [finding for name in found if (finding := _complaint(name, sources))]
    clean = f"no warning from {' and '.join(found)}" if found else "no compiler found"
    return GateResult(
        name="c-compiles",
        measured=findings[0] if findings else clean,
        limit=" ".join(STRICT[:-1]),
        verdict="fail" if findings else "pass" if found else "unavailable",
        detail="; ".join(findings[1:]) or ("" if found else "install gcc or clang"),
    )


def _complaint(compiler: str, sources: Mapping[str, bytes]) -> str:
    """The first thing a compiler says about a model, empty when it is content."""
    with tempfile.TemporaryDirectory(prefix="sordino-") as place:
        for name, content in sources.items():
            (Path(place) / name).write_bytes(content)
        command = [compiler, *STRICT, "-c", C_MODEL, "-o", "model.o"]
        try:
            run = subprocess.run(
                command,
                cwd=place,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMPILE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{compiler} did not end"
    complaints = [line for line in run.stderr.splitlines() if "error" in line or "warning" in line]
    if run.returncode == 0 and not complaints:
        return ""
    return f"{compiler}: {(complaints or ['failed'])[0][:120]}"


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
