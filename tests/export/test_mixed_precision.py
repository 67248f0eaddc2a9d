from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from distill.mixing import Mixture
from export import mixed_precision
from export.calibration import Calibration, stack_features
from export.mixed_precision import OutsideBudget, peeling_order, search
from export.quality_budget import QualityBudget
from export.quantization import QuantizedGraph
from export.sensitivity import OUTPUT, Link, Sensitivity, measure_sensitivity
from export.step_graph import StepGraph
from export.trial import Reference, Trial
from export.widening_cost import Unit, units, widening_cost
from runtime.metrics import Scores
from runtime.stft import StftContract

Signals = list[npt.NDArray[np.float32]]
BUDGET = QualityBudget({"si_sdr": 0.1})


def test_units_hold_every_tensor_once(graph: StepGraph) -> None:
    parts = units(graph)
    names = [name for part in parts for name in part.tensors]
    assert len(names) == len(set(names))
    assert parts[0].name == "features"
    assert sum(part.macs for part in parts) == graph.macs
    first = next(part for part in parts if "encoder1_out" in part.tensors)
    assert {"encoder1_in", "encoder1/window"} <= first.tensors
    assert first.layers == ("encoder1_out",)


def test_the_cost_of_a_mix_counts_a_unit_once(graph: StepGraph) -> None:
    everything = sum(part.cost for part in units(graph))
    assert widening_cost(graph, ()) == 0.0
    assert widening_cost(graph, [part.name for part in units(graph)]) == everything
    one = widening_cost(graph, ["encoder1_out"])
    assert one == widening_cost(graph, ["encoder1_out", "encoder1/window"])
    assert 0.0 < one < everything


def test_noise_of_the_links_adds_up_to_that_of_int8(
    graph: StepGraph, calibration: Calibration, contract: StftContract, signals: Signals
) -> None:
    parts = units(graph)
    found = measure_sensitivity(graph, calibration, parts, stack_features(contract, signals[:3]))
    assert len(found.links) >= len(parts)
    assert all(link.noise >= 0.0 for link in found.links)
    assert any(link.reader == OUTPUT for link in found.links)
    none, every = [False] * len(parts), [True] * len(parts)
    assert found.noise(every) == found.weights > 0.0
    total = found.weights + sum(link.noise for link in found.links)
    assert found.noise(none) == pytest.approx(total)
    shares = sum(found.share(index) for index in range(len(parts)))
    assert shares == pytest.approx(1.0 - found.weights / total)


def _unit(name: str, cost: int) -> Unit:
    return Unit((name,), frozenset({name}), macs=cost, values=0, bytes=0)


def test_what_saves_most_for_the_least_noise_goes_first() -> None:
    parts = [_unit("dear", 1000), _unit("noisy", 10), _unit("quiet", 10)]
    links = (Link(0, OUTPUT, 1.0), Link(1, OUTPUT, 1.0), Link(2, OUTPUT, 0.001))
    assert peeling_order(parts, Sensitivity(links, 0.0)) == [2, 0, 1]


def test_a_layer_is_worth_nothing_without_its_reader() -> None:
    """The pair (0, 1) makes noise: once one of the two is int8, the other may as well be."""
    parts = [_unit(name, 10) for name in ("read", "reader", "other")]
    links = (Link(0, 1, 1.0), Link(2, OUTPUT, 1.5))
    order = peeling_order(parts, Sensitivity(links, 0.0))
    assert order[:2] in ([0, 1], [1, 0])


NEEDED = ("gru/new", "gru/taken", "gru_out")


@pytest.fixture
def reference(contract: StftContract, signals: Signals) -> Reference:
    mixture = Mixture(signals[0], signals[0], 10.0, "speech", "noise")
    return Reference(contract, [mixture], BUDGET, [signals[0]], Scores(10.0, None, None))


def _judging(monkeypatch: pytest.MonkeyPatch, needed: Collection[str]) -> list[tuple[str, ...]]:
    """From now on a file is inside where these layers are int16; returns what was tried."""
    tried: list[tuple[str, ...]] = []

    def judge(
        quantized: QuantizedGraph,
        reference: Reference,
        what: str,
        layers: Sequence[str] = (),
        cost: float = 0.0,
    ) -> Trial:
        tried.append(tuple(layers))
        loss = 0.2 if set(needed) - quantized.wide else 0.01
        return Trial(what, tuple(layers), cost, {}, {"si_sdr": loss}, 30.0, loss <= 0.1)

    monkeypatch.setattr(mixed_precision, "try_out", judge)
    return tried


def test_int8_that_is_inside_is_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
    graph: StepGraph,
    calibration: Calibration,
    reference: Reference,
    signals: Signals,
) -> None:
    tried = _judging(monkeypatch, ())
    stacked = stack_features(reference.contract, signals[:2])
    mix = search(graph, calibration, reference, stacked)
    assert tried == [()]
    assert mix.wide == mix.names == ()


def test_the_search_finds_the_layers_that_are_needed(
    monkeypatch: pytest.MonkeyPatch,
    graph: StepGraph,
    calibration: Calibration,
    reference: Reference,
    signals: Signals,
) -> None:
    tried = _judging(monkeypatch, NEEDED)
    stacked = stack_features(reference.contract, signals[:2])
    mix = search(graph, calibration, reference, stacked)
    assert set(NEEDED) <= set(mix.wide)
    assert mix.chosen.inside
    assert mix.chosen.cost < 0.5 * widening_cost(graph, [part.name for part in units(graph)])
    assert mix.chosen.cost == min(trial.cost for trial in mix.trials if trial.inside)
    assert len(tried) == len(set(tried)) <= 14
    assert {name for one in mix.layers if one.wide for name in one.layers} == set(mix.wide)
    assert mix.errors
    assert mix.errors[0].precision == "int8"


def test_a_mix_that_is_inside_by_luck_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
    graph: StepGraph,
    calibration: Calibration,
    reference: Reference,
    signals: Signals,
) -> None:
    """Every mix is inside, but without one layer it is further from the float graph than int8."""

    def judge(
        quantized: QuantizedGraph,
        reference: Reference,
        what: str,
        layers: Sequence[str] = (),
        cost: float = 0.0,
    ) -> Trial:
        lucky = layers and "gru/new" not in layers
        loss = 0.01 if layers else 0.2
        snr_db = 20.0 if lucky else 30.0
        return Trial(what, tuple(layers), cost, {}, {"si_sdr": loss}, snr_db, loss <= 0.1)

    monkeypatch.setattr(mixed_precision, "try_out", judge)
    mix = search(graph, calibration, reference, stack_features(reference.contract, signals[:2]))
    assert "gru/new" in mix.wide
    assert mix.chosen.snr_db == 30.0


def test_trials_made_before_are_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
    graph: StepGraph,
    calibration: Calibration,
    reference: Reference,
    signals: Signals,
) -> None:
    tried = _judging(monkeypatch, NEEDED)
    known = Trial("int8", (), 0.0, {}, {"si_sdr": 0.05}, 30.0, True)
    stacked = stack_features(reference.contract, signals[:2])
    assert search(graph, calibration, reference, stacked, [("int8", known)]).chosen == known
    assert tried == []


def test_a_budget_that_nothing_meets_is_told_with_figures(
    monkeypatch: pytest.MonkeyPatch,
    graph: StepGraph,
    calibration: Calibration,
    reference: Reference,
    signals: Signals,
) -> None:
    _judging(monkeypatch, ("no such layer",))
    stacked = stack_features(reference.contract, signals[:2])
    with pytest.raises(OutsideBudget, match=r"int16x8 loses si_sdr \+0\.200") as caught:
        search(graph, calibration, reference, stacked)
    assert [trial.what for trial in caught.value.trials] == ["int8", "int16x8"]
    assert caught.value.exit_code == 1
    assert "--fine-tune" in caught.value.hint
