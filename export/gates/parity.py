"""Gate ``parity``: torch, the step graph and every float file compute the same function."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from distill.unet import UNet
from export.gates.recurrence import Runner, largest_difference, random_states, trace
from export.step_graph import StepGraph
from export.step_module import TorchStep
from runtime.artefact import GateResult

NAME = "parity"
LIMIT = 1e-4


def parity(
    network: UNet,
    graph: StepGraph,
    runners: Mapping[str, Runner],
    features: npt.NDArray[np.float32],
) -> GateResult:
    """Largest difference of mask and states from torch, over ``features`` ``[frames, bins, 3]``.

    Every route starts from the same random non-zero state and feeds its own states back.
    """
    states = random_states(graph)
    reference = trace(TorchStep(network, graph), features, states)
    differences = {
        name: largest_difference(reference, trace(runner, features, states))
        for name, runner in runners.items()
    }
    worst = max(differences.values())
    return GateResult(
        name=NAME,
        measured=f"{worst:.1e} over {len(features)} frames",
        limit=f"≤ {LIMIT:.0e}",
        verdict="pass" if worst <= LIMIT else "fail",
        detail=", ".join(f"{name} {value:.1e}" for name, value in differences.items()),
    )
