"""Gate ``c-compiles``: generated C is clean under every compiler of this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from runtime.artefact import GateResult
from runtime.devices.children import run_tool
from runtime.verification.results import judged, unavailable
from targets.errors import GateUnavailable

COMPILERS = ("gcc", "clang")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Werror", "-O2")
COMPILE_SECONDS = 120.0
NAME = "c-compiles"


def c_compiles(sources: Mapping[str, bytes]) -> GateResult:
    """Every C file of the ``sources`` must compile without a warning under every compiler found
    here; unavailable where there is none."""
    limit = " ".join(STRICT[:-1])
    found = [name for name in COMPILERS if shutil.which(name)]
    if not found:
        return unavailable(NAME, limit, "no compiler found: install gcc or clang")
    findings = [finding for name in found if (finding := _complaint(name, sources))]
    return judged(
        NAME,
        findings,
        f"no warning from {' and '.join(found)}",
        limit,
        likely="the sources were edited, or a header is of another model",
    )


def _complaint(compiler: str, sources: Mapping[str, bytes]) -> str:
    """The first thing a compiler says about the sources, empty when it is content."""
    with tempfile.TemporaryDirectory(prefix="sordino-") as place:
        for name, content in sources.items():
            (Path(place) / name).write_bytes(content)
        command = [compiler, *STRICT, "-c", *(name for name in sources if name.endswith(".c"))]
        try:
            done = run_tool(command, Path(place), COMPILE_SECONDS)
        except GateUnavailable as error:
            return error.message
    complaints = [line for line in done.errors.splitlines() if "error" in line or "warning" in line]
    if done.status == 0 and not complaints:
        return ""
    return f"{compiler}: {(complaints or ['failed'])[0][:120]}"
