from __future__ import annotations

import pytest

from export.quality_budget import DEFAULT_BUDGET, parse_budget
from runtime.metrics import Scores
from targets.errors import InputError


def test_a_budget_names_metrics_and_losses() -> None:
    budget = parse_budget(" PESQ=0.05, si-sdr=0.3 ")
    assert budget.losses == {"pesq_wb": 0.05, "si_sdr": 0.3}
    assert budget == DEFAULT_BUDGET
    assert budget.metrics == ("si-sdr", "pesq")
    assert str(budget) == "pesq_wb ≤ 0.05, si_sdr ≤ 0.3"


@pytest.mark.parametrize(
    ("text", "field", "metric"),
    [
        ("stoi=0", "stoi", "stoi"),
        ("estoi=0.01", "estoi", "estoi"),
        ("dnsmos=0.1", "dnsmos_ovrl", "dnsmos"),
        ("dnsmos_sig=0.1", "dnsmos_sig", "dnsmos"),
        ("pesq_wb=1", "pesq_wb", "pesq"),
    ],
)
def test_every_metric_and_field_has_a_name(text: str, field: str, metric: str) -> None:
    budget = parse_budget(text)
    assert list(budget.losses) == [field]
    assert budget.metrics == (metric,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pesc=0.1", "no metric 'pesc'"),
        ("", "Cannot read"),
        ("pesq", "Cannot read"),
        ("pesq=", "must be a number"),
        ("pesq=-0.1", "must be a number"),
        ("pesq=nan", "must be a number"),
        ("pesq=inf", "must be a number"),
        ("pesq=0.1,pesq=0.2", "twice"),
        ("pesq=0.1,pesq_wb=0.2", "twice"),
        ("haspi=0.1", "one listener"),
    ],
)
def test_a_budget_that_is_none_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        parse_budget(text)
    assert caught.value.hint


def test_an_unknown_metric_gets_a_suggestion() -> None:
    with pytest.raises(InputError) as caught:
        parse_budget("si_sdn=0.3")
    assert "Did you mean si_sdr?" in caught.value.hint


def test_a_loss_that_was_not_measured_is_not_inside() -> None:
    budget = parse_budget("pesq=0.05,si_sdr=0.3")
    reference, found = Scores(10.0, 2.0, None), Scores(9.8, None, None)
    losses = budget.lost(reference, found)
    assert losses == {"pesq_wb": None, "si_sdr": pytest.approx(0.2)}
    assert not budget.inside(losses)
    assert budget.inside(budget.lost(reference, Scores(9.8, 2.1, None)))
    assert not budget.inside(budget.lost(reference, Scores(9.6, 2.1, None)))
