"""A student with what its sidecar says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from distill.checkpoint import load_checkpoint
from export.importing.student import open_student
from export.trained import of_checkpoint, of_factory
from runtime.stft import StftContract
from targets.errors import InputError

MODULE = """
import torch
from torch import nn

class Mask(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 2, 1)

    def initial_states(self):
        return {}

    def step(self, features):
        return (torch.tanh(self.mix(features)),)

    def forward(self, features):
        return self.step(features)[0]
"""
FACTORY = "another_student:Mask"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "another_student.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_foreign_student_tells_where_it_comes_from(written: Path, contract: StftContract) -> None:
    weights = written / "weights.safetensors"
    save_file(open_student(FACTORY, None, contract.bins).state_dict(), weights)
    trained = of_factory(FACTORY, weights, contract)
    assert (trained.role, trained.preset, trained.contract) == ("student", FACTORY, contract)
    known = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert trained.provenance["weights_sha256"] == known
    (written / "another_student.py").write_text(MODULE + "\n# changed\n")
    assert (
        of_factory(FACTORY, weights, contract).provenance["code_sha256"]
        != (trained.provenance["code_sha256"])
    )


def test_a_contract_of_other_bins_is_refused(written: Path) -> None:
    (written / "narrow_student.py").write_text(
        MODULE.replace("nn.Conv2d(3, 2, 1)", "nn.Linear(64, 64)").replace(
            "self.mix(features)", "self.mix(features[:, :2])"
        )
    )
    with pytest.raises(InputError, match=r"step\(\) failed on features \[1, 3, 1, 256\]"):
        of_factory("narrow_student:Mask", None, StftContract())


def test_a_checkpoint_is_a_student_too(save_run: Callable[[Path], Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(save_run(tmp_path / "run"))
    trained = of_checkpoint(checkpoint)
    assert trained.preset == checkpoint.record.preset
    assert trained.provenance["checkpoint_sha256"] == checkpoint.sha256
    assert [state.name for state in trained.student.graph.states] == ["encoder1", "encoder2", "gru"]
