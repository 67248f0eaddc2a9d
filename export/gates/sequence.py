"""Gate ``sequence-equals-step``: training sees sequences, devices see steps, both one function."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from distill.unet import UNet
from export.gates.recurrence import largest_difference, random_states, trace
from export.step_graph import StepGraph
from export.step_module import TorchStep
from runtime.artefact import GateResult

NAME = "sequence-equals-step"
LIMIT = 1e-5


def sequence_equals_step(
    network: UNet, graph: StepGraph, features: npt.NDArray[np.float32]
) -> GateResult:
    """Mask and last states of ``forward`` against ``step`` frame by frame, from one non-zero state.

    ``features`` is ``[frames, bins, 3]``. The torch network alone is tested; the graph names the
    states.
    """
    states = random_states(graph)
    stepped = trace(TorchStep(network, graph), features, states)
    named = {
        state.name: torch.from_numpy(
            value[:, 0, 0] if state.name == "gru" else value.transpose(0, 3, 1, 2)
        )
        for state, value in zip(graph.states, states, strict=True)
    }
    with torch.inference_mode():
        whole = network(torch.from_numpy(features).permute(2, 0, 1)[None], named)
    masks = whole.mask[0].permute(1, 2, 0).numpy()
    pairs = [(masks, stepped[0][:, 0, 0])]
    for state, series in zip(graph.states, stepped[1:], strict=True):
        last = whole.states[state.name]
        shown = last[:, None, None] if state.name == "gru" else last.permute(0, 2, 3, 1)
        pairs.append((shown.numpy(), series[-1]))
    difference = largest_difference(*zip(*pairs, strict=True))
    passed = difference <= LIMIT
    return GateResult(
        name=NAME,
        measured=f"{difference:.1e} over {len(features)} frames",
        limit=f"≤ {LIMIT:.0e}",
        verdict="pass" if passed else "fail",
        detail="largest difference of mask and states, torch forward against step",
        likely="" if passed else _likely(*pairs[0]),
    )


def _likely(whole: npt.NDArray[np.float32], stepped: npt.NDArray[np.float32]) -> str:
    """Two sequences of masks ``[frames, bins, channels]``."""
    beyond = ~(np.abs(whole - stepped).max(axis=(1, 2)) <= LIMIT)
    if not beyond.any():
        return "a state that step leaves as the next one does not read it"
    first = int(np.argmax(beyond))
    if first:
        return f"equal for {first} frames: a history in step is too short, late, or not carried"
    return "step reads a state otherwise than forward, or computes a frame by another formula"
