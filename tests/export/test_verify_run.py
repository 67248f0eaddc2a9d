"""Artefacts beside the trained network they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.checkpoint import Checkpoint, load_checkpoint
from export.material import Material
from export.pipeline import verified_models, write_artefacts
from export.trained import of_checkpoint
from export.verify_cli import verify
from export.verify_run import verify_against
from runtime.artefact import Artefact
from targets.errors import InputError
from tests.export.edited import rewritten
from tests.runtime.fakes import invoke, needs_tflm
from tests.runtime.verification.edited_models import replaced

pytestmark = needs_tflm


@pytest.fixture(scope="module")
def exported(
    save_run: Callable[[Path], Path], material: Material, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Checkpoint, list[Artefact], Path]:
    run = save_run(tmp_path_factory.mktemp("run"))
    checkpoint = load_checkpoint(run)
    models = verified_models(
        of_checkpoint(checkpoint), ["tflite-int8", "tflite-fp32"], material, lambda *told: None
    )
    return checkpoint, write_artefacts(models, run / "artefacts"), run


def test_files_hold_the_network(exported: tuple[Checkpoint, list[Artefact], Path]) -> None:
    checkpoint, artefacts, _ = exported
    gates = {gate.name: gate.verdict for gate in verify_against(checkpoint, artefacts)}
    assert gates == {
        "sequence-equals-step": "pass",
        "causality": "pass",
        "parity": "pass",
        "stored-weights (tflite-int8)": "pass",
        "stored-weights (tflite-fp32)": "pass",
    }


@pytest.mark.parametrize(("place", "dtype"), [(0, np.int8), (1, np.float32)])
def test_one_weight_of_a_file_is_seen(
    exported: tuple[Checkpoint, list[Artefact], Path], tmp_path: Path, place: int, dtype: Any
) -> None:
    """The largest of the constants, one value altered by a little."""
    checkpoint, artefacts, _ = exported
    origin = artefacts[place]

    def edit(model: Any) -> None:
        largest = max(
            (one for one in model.buffers if one.data is not None), key=lambda one: len(one.data)
        )
        values = np.frombuffer(bytes(largest.data), dtype).copy()
        values[5] += 2 if dtype is np.int8 else 1e-3
        largest.data = values.view(np.uint8)

    path = tmp_path / origin.path.name
    copy = origin.model_copy(update={"path": path})
    altered = replaced(copy, rewritten(origin.path.read_bytes(), edit))
    failed = {g.name for g in verify_against(checkpoint, [altered]) if g.verdict == "fail"}
    assert f"stored-weights ({origin.sidecar.target})" in failed


def test_weights_that_were_tuned_are_not_compared(
    exported: tuple[Checkpoint, list[Artefact], Path],
) -> None:
    checkpoint, artefacts, _ = exported
    notes = {**artefacts[0].sidecar.quantization, "corrected_biases": "by at most 0.3"}
    sidecar = artefacts[0].sidecar.model_copy(update={"quantization": notes})
    tuned = artefacts[0].model_copy(update={"sidecar": sidecar})
    names = [gate.name for gate in verify_against(checkpoint, [tuned])]
    assert not any("stored-weights" in name for name in names)


def test_a_model_of_another_run_is_refused(
    exported: tuple[Checkpoint, list[Artefact], Path], poor_run_folder: Path
) -> None:
    _, artefacts, _ = exported
    with pytest.raises(InputError, match="was not exported from"):
        verify_against(load_checkpoint(poor_run_folder), artefacts)


def test_a_run_stands_for_its_models(
    exported: tuple[Checkpoint, list[Artefact], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    _, _, run = exported
    outcome = invoke(capfd, verify, run, "--minutes", "0")
    assert outcome.status == 0, outcome.err
    assert "the network of" in outcome.out
    assert "stored-weights" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80
