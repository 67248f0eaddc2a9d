"""Gate ``responds``: the output moves when the input moves, and so does every state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.gates.recurrence import Array, Runner, trace
from runtime.artefact import GateResult

NAME = "responds"
LEAST_PART = 0.01  # of the mask's values; a live network moves nearly all of them


def responds(
    runner: Runner, signal: Array, silence: Array, states: Sequence[Array], names: Sequence[str]
) -> GateResult:
    """Compares the outputs for two feature sequences ``[frames, bins, 3]``, as stored.

    ``states`` are the initial ones and ``names`` the outputs' names, mask first.
    """
    heard = trace(runner, signal, states)
    quiet = trace(runner, silence, states)
    parts = {
        name: float(np.mean(one != other))
        for name, one, other in zip(names, heard, quiet, strict=True)
    }
    dead = [name for name, part in parts.items() if part == 0.0]
    mask = parts[names[0]]
    passed = not dead and mask >= LEAST_PART and all(np.isfinite(one).all() for one in heard)
    return GateResult(
        name=NAME,
        measured=f"{mask:.0%} of the mask moves",
        limit=f"≥ {LEAST_PART:.0%}, every state moves",
        verdict="pass" if passed else "fail",
        detail=f"unmoved: {', '.join(dead)}" if dead else "audio against silence",
    )
