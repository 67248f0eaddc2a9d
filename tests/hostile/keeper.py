"""The child process that is fed the corpus: ``python -m tests.hostile.keeper FOLDER…``.

For each folder the artefact in it is loaded, opened with every engine that is installed, and given
one hop of noise. A line of JSON on stdout says what came of it; a folder is announced before it is
touched, so that a crash has a name.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from runtime.artefact import load_artefact
from runtime.denoiser import StreamingDenoiser
from runtime.engines import ENGINES, engine_names, open_engine
from targets.errors import SordinoError

CLEAR_PEAK = "5"  # to /proc/self/clear_refs: reset VmHWM to the present


def handled(path: Path) -> dict[str, Any]:
    """What came of one model: ``told`` (a sentence and its hint), ``ran``, or ``raised``."""
    try:
        artefact = load_artefact(path)
        refusals = []
        for name in engine_names(artefact):
            if all(find_spec(module.partition(".")[0]) for module in ENGINES[name].modules):
                refusals.append(_one_step(artefact, name))
    except SordinoError as error:
        return {"told": error.message, "hint": error.hint}
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}
    refused = [refusal for refusal in refusals if refusal is not None]
    return refused[0] if refused else {"ran": len(refusals)}


def _one_step(artefact: Any, name: str) -> dict[str, Any] | None:
    try:
        engine = open_engine(artefact, name)
        denoiser = StreamingDenoiser(artefact.sidecar, engine)
        noise = np.random.default_rng(0).normal(size=artefact.sidecar.contract.hop)
        denoiser.push((0.1 * noise).astype(np.float32))
    except SordinoError as error:
        return {"told": error.message, "hint": error.hint}
    return None


def peak() -> int:
    """Peak resident bytes of this process since the last call, of all children ever."""
    status = Path("/proc/self/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return 1024 * max(own, children)


def main(folders: list[str]) -> None:
    for folder in folders:
        sys.stdout.write(json.dumps({"folder": folder}) + "\n")
        sys.stdout.flush()
        path = next(p for p in Path(folder).iterdir() if p.suffix != ".json")
        begun = time.monotonic()
        record = handled(path)
        record |= {"seconds": time.monotonic() - begun, "peak": peak()}
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
