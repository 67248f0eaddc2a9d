"""Typical bugs, planted one by one, get a hint that names them."""

from __future__ import annotations

import numpy as np
import pytest

from distill.unet import UNetConfig
from export.gates.parity import parity
from export.gates.sequence import sequence_equals_step
from export.lowering import lower
from export.students import own_student
from runtime.verification.likely import likely_bug, symptom
from tests.export.conftest import randomised
from tests.runtime.verification.planted import BUGS, CONFIGS, LIMIT, features, planted

ORDER = "in another order"
NORM = "batch norm that was not folded"
GATES = "wrong side of the reset gate, gates in another order or sense"
STATE = "lost, late, or exchanged"
NAMES = {
    "epsilon": "epsilon in a batch norm",
    "half precision": "weights or states in half precision",
    "first norm left out": f"before encoder1_out: {{}}{NORM}",
    "second norm left out": NORM,
    "last norm left out": f"to the mask does not: a {NORM}",
    "norm by variance": NORM,
    "reset before product": GATES,
    "gate order": GATES,
    "gate sense": GATES,
    "recurrent bias lost": GATES,
    "flattened channels first": "flattened in another order",
    "kernel turned": f"channels {ORDER}",
    "sub-pixel order": f"channels {ORDER} where they unfold",
    "features in another order": f"before encoder1_out: {{}}channels {ORDER}",
    "padding side": "padding on the wrong side",
    "sigmoid for tanh": "sigmoid and tanh",
    "rectifier lost": "activation that is missing",
    "first state lost": f"encoder1_out does not: it is {STATE}",
    "gru lost": f"gru_out does not: it is {STATE}",
    "state late": STATE,
    "state in half precision": "weights or states in half precision",
    "state reversed": STATE,
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_named(bug: str, config: UNetConfig) -> None:
    for seed in range(2):
        found = planted(BUGS[bug], config, seed)
        assert found is not None
        hint = likely_bug(found)
        assert all(part in hint for part in NAMES[bug].split("{}")), (found, hint)


def test_every_bug_has_a_name() -> None:
    assert NAMES.keys() == BUGS.keys()


def test_a_state_that_is_fed_wrongly_shows_in_the_second_frame() -> None:
    frames = np.zeros((5, 2))
    later = frames.copy()
    later[1:] = 1.0
    found = symptom([frames, frames], [later, frames], ["mask", "gru_out"], LIMIT)
    assert found is not None
    assert (found.first_frame, found.outputs, found.agreeing) == (1, ("mask",), ("gru_out",))
    assert STATE in likely_bug(found)


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ("dual0_out", "the cell of"),
        ("full_out", "the cell of"),
        ("residual0_out", "the layers before"),
    ],
)
def test_the_memories_of_dual_paths_are_cells(state: str, place: str) -> None:
    frames = np.zeros((5, 2))
    found = symptom([frames] * 2, [frames + 1.0] * 2, ["mask", state], LIMIT)
    assert found is not None
    assert likely_bug(found).startswith(f"{place} {state}")


def test_what_is_no_number_differs() -> None:
    frames = np.zeros((5, 2))
    found = symptom([frames], [frames * np.nan], ["mask"], LIMIT)
    assert found is not None
    assert "out of range" in likely_bug(found)


def test_equal_traces_have_no_symptom() -> None:
    frames = np.zeros((5, 2))
    assert symptom([frames], [frames + LIMIT / 2], ["mask"], LIMIT) is None


# --- where the export itself compares -------------------------------------------------------------


def test_parity_names_the_bug() -> None:
    network = randomised(CONFIGS["narrow"])
    graph = lower(network)
    mutant = BUGS["gate order"]
    import torch

    with torch.no_grad():
        runner = mutant(randomised(CONFIGS["narrow"]), graph)
    gate = parity(own_student(network), {"file": runner}, features())
    assert gate.verdict == "fail"
    assert "gates in another order" in gate.likely


def test_a_passed_gate_names_none() -> None:
    network = randomised(CONFIGS["narrow"])
    assert sequence_equals_step(own_student(network), features()).likely == ""


def test_sequence_names_the_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomised(CONFIGS["narrow"])
    step = network.step
    monkeypatch.setattr(
        network,
        "step",
        lambda frame, states: step(frame, {**states, "gru": states["gru"] * 0.5}),
    )
    gate = sequence_equals_step(own_student(network), features())
    assert gate.verdict == "fail"
    assert "reads a state otherwise" in gate.likely
