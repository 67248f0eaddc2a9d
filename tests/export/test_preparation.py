from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from export.fine_tuning import FineTuned
from export.gates.stored_weights import stored_weights
from export.lowering import lower
from export.material import Material
from export.mixed_precision import OutsideBudget
from export.preparation import Prepared, Quantizing, prepare
from export.quality_budget import QualityBudget
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import StepGraph
from export.tflite import write_quantized
from export.trial import Reference, Trial
from runtime.stft import StftContract
from targets.errors import GateUnavailable
from tests.export.conftest import spectral_gate

BUDGET = QualityBudget({"si_sdr": 0.3})


@pytest.fixture(scope="module")
def student() -> StepGraph:
    return lower(spectral_gate())


@pytest.fixture(scope="module")
def plain(student: StepGraph, contract: StftContract, material: Material) -> Prepared:
    return prepare(student, contract, material, ["int8", "int16x8"])


def test_nothing_is_done_unless_asked(student: StepGraph, plain: Prepared) -> None:
    assert plain.graph is student
    assert plain.trials == ()
    assert plain.mix is None
    assert write_quantized(plain.quantized["int8"]) == write_quantized(
        quantize_graph(student, plain.calibration)
    )
    assert not plain.quantized["int8"].wide
    assert plain.quantized["int16x8"].wide
    assert plain.notes == {"ranges": "true minimum and maximum, states carried"}


def test_everything_at_once_passes_the_gate_on_weights(
    student: StepGraph, contract: StftContract, material: Material
) -> None:
    stages: list[str] = []
    found = prepare(
        student,
        contract,
        material,
        ["int8", "int16x8"],
        Quantizing(ranges="percentile", percentile=99.999, equalise=True, correct_biases=True),
        lambda stage, fraction: stages.append(stage),
    )
    for quantized in found.quantized.values():
        content = write_quantized(quantized)
        assert stored_weights(content, found.graph).verdict == "pass"
        assert stored_weights(content, student).verdict == "fail"
    assert found.notes["ranges"] == "percentile 99.999 at either end, states carried"
    assert int(found.notes["equalised_channels"]) > 0
    assert str(found.notes["corrected_biases"]).startswith("by at most")
    assert dict.fromkeys(stages).keys() == {"equalising", "calibrating", "correcting biases"}


def test_inside_the_budget_int8_stays_as_it_is(
    student: StepGraph, contract: StftContract, material: Material, plain: Prepared
) -> None:
    found = prepare(
        student, contract, material, ["int8"], Quantizing(budget=BUDGET, fine_tune=1_000)
    )
    assert [trial.what for trial in found.trials] == ["int8"]
    assert found.trials[0].inside
    assert found.notes["layers_in_int16"] == "none"
    assert "fine_tuning" not in found.notes
    assert write_quantized(found.quantized["int8"]) == write_quantized(plain.quantized["int8"])


def test_a_tight_budget_makes_some_layers_wide(
    student: StepGraph, contract: StftContract, material: Material
) -> None:
    """The limit lies between what int8 and what int16x8 lose."""
    loose = QualityBudget({"si_sdr": 100.0})
    both = prepare(student, contract, material, ["int8", "int16x8"], Quantizing(budget=loose))
    losses = [trial.losses["si_sdr"] for trial in both.trials]
    narrow, wide = (loss for loss in losses if loss is not None)
    assert narrow > wide
    tight = QualityBudget({"si_sdr": max(0.5 * (narrow + wide), 0.0)})
    found = prepare(student, contract, material, ["int8"], Quantizing(budget=tight))
    assert found.mix is not None
    assert found.mix.names
    assert found.mix.chosen.inside
    assert not found.trials[0].inside
    assert found.quantized["int8"].wide
    assert "int8" in {one.precision for one in found.quantized["int8"].activations.values()}
    assert set(str(found.notes["layers_in_int16"]).split(", ")) == set(found.mix.wide)


@pytest.fixture
def never_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every file loses 1 dB."""

    def judge(
        quantized: QuantizedGraph,
        reference: Reference,
        what: str,
        layers: Sequence[str] = (),
        cost: float = 0.0,
    ) -> Trial:
        snr_db = 21.0 if "tuned" in what else 20.0
        return Trial(what, tuple(layers), cost, {}, {"si_sdr": 1.0}, snr_db, False)

    monkeypatch.setattr("export.preparation.try_out", judge)
    monkeypatch.setattr("export.mixed_precision.try_out", judge)


@pytest.mark.usefixtures("never_inside")
def test_weights_are_tuned_before_the_budget_is_given_up(
    student: StepGraph, contract: StftContract, material: Material
) -> None:
    settings = Quantizing(budget=BUDGET, fine_tune=2)
    with pytest.raises(OutsideBudget, match=r"si_sdr \+1\.000") as caught:
        prepare(student, contract, material, ["int16x8"], settings)
    assert {trial.what for trial in caught.value.trials} == {"int16x8", "int16x8, tuned"}
    assert not any(trial.inside for trial in caught.value.trials)


@pytest.mark.usefixtures("never_inside")
def test_tuning_without_a_budget_goes_by_the_usual_one(
    student: StepGraph, contract: StftContract, material: Material
) -> None:
    found = prepare(student, contract, material, ["int8"], Quantizing(fine_tune=2))
    assert found.mix is None
    assert not found.quantized["int8"].wide
    used = found.notes["fine_tuning"] == "2 steps, used"
    assert used == (found.graph is not student)
    assert used or found.notes["fine_tuning"] == "2 steps, not used"
    order = ["int8", "int8, tuned"] if used else ["int8, tuned", "int8"]
    assert [trial.what for trial in found.trials] == order


def test_tuning_that_leads_away_from_float_is_not_used(
    student: StepGraph,
    contract: StftContract,
    material: Material,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loss on the signals held back falls, and yet other signals come out worse."""

    def judge(
        quantized: QuantizedGraph,
        reference: Reference,
        what: str,
        layers: Sequence[str] = (),
        cost: float = 0.0,
    ) -> Trial:
        snr_db = 19.0 if "tuned" in what else 20.0
        return Trial(what, tuple(layers), cost, {}, {"si_sdr": 1.0}, snr_db, False)

    def tune(graph: StepGraph, *rest: object, **more: object) -> FineTuned:
        return FineTuned(replace(graph), 2, 1.0, 0.5)

    monkeypatch.setattr("export.preparation.try_out", judge)
    monkeypatch.setattr("export.preparation.fine_tune", tune)
    found = prepare(student, contract, material, ["int8"], Quantizing(fine_tune=2))
    assert found.graph is student
    assert found.notes["fine_tuning"] == "2 steps, not used"
    assert found.trials[-1].what == "int8"


def test_a_metric_that_is_not_installed_is_no_pass(
    student: StepGraph,
    contract: StftContract,
    material: Material,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "export.trial.metric_versions", lambda names: dict.fromkeys(names, "not installed")
    )
    with pytest.raises(GateUnavailable, match="not installed here"):
        prepare(student, contract, material, ["int8"], Quantizing(budget=BUDGET))


def test_the_seed_is_fixed(student: StepGraph, contract: StftContract, material: Material) -> None:
    settings = Quantizing(ranges="mse", equalise=True, correct_biases=True)
    one, other = (prepare(student, contract, material, ["int8"], settings) for _ in range(2))
    assert write_quantized(one.quantized["int8"]) == write_quantized(other.quantized["int8"])
    assert np.isfinite([bound for pair in one.calibration.ranges.values() for bound in pair]).all()
