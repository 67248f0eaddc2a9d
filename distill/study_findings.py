"""What the runs of a study say: figures per cell, comparisons, and sentences made of verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distill.study import NOISY, Study
from distill.study_result import RunResult
from distill.study_statistics import (
    Array,
    Comparison,
    MeanStd,
    NoiseFloor,
    compare,
    correct,
    mean_std,
    noise_floor,
)
from runtime.metrics import Column, columns_of


@dataclass(frozen=True)
class CellFigures:
    """Means over the seeds of one scenario and method, per metric."""

    scenario: str
    method: str
    scores: dict[str, MeanStd]
    parameters: int | None
    macs_per_second: float | None
    seconds: float


@dataclass(frozen=True)
class MetricFindings:
    """One metric, by its field in the scores: noise floor and the comparisons with ``control``."""

    metric: str
    control: str
    title: str
    digits: int
    floor: NoiseFloor | None
    comparisons: dict[tuple[str, str], Comparison]  # (scenario, method)


@dataclass(frozen=True)
class Determinism:
    """Whether runs repeated without any change came out with the same weights, byte for byte."""

    repeated: int
    equal: int


@dataclass(frozen=True)
class Findings:
    """All that a report says; ``missing`` counts cells of the grid without a result.

    ``metrics`` compare with the control, ``further`` with the other methods that the study names.
    """

    study: Study
    references: list[RunResult]
    cells: list[CellFigures]
    metrics: list[MetricFindings]
    further: list[MetricFindings]
    determinism: Determinism
    failed: list[RunResult]
    missing: int
    environments: list[dict[str, str]]
    sentences: list[str]


def find(study: Study, results: Sequence[RunResult], failed: Sequence[RunResult]) -> Findings:
    """Evaluate the results of a study, complete or not."""
    runs = {(r.scenario, r.method, r.seed): r for r in results if r.kind == "run"}
    columns = [
        column
        for column in columns_of(study.metrics)
        if any(run.mean(column.field) is not None for run in runs.values())
    ]
    differences = {
        column.field: _repeat_differences(column.field, results, runs) for column in columns
    }
    found, *further = (
        [_metric(study, control, column, differences[column.field], runs) for column in columns]
        for control in (study.control, *study.against)
    )
    all_found = [*found, *(metric for metrics in further for metric in metrics)]
    wanted = len(study.scenarios) * len(study.methods) * len(study.seeds)
    environments: list[dict[str, str]] = []
    for result in results:
        if result.environment not in environments:
            environments.append(result.environment)
    return Findings(
        study=study,
        references=[result for result in results if result.kind == "reference"],
        cells=_cells(study, [column.field for column in columns], runs),
        metrics=found,
        further=all_found[len(found) :],
        determinism=_determinism(results, runs),
        failed=list(failed),
        missing=wanted - len(runs),
        environments=environments,
        sentences=[sentence for metric in all_found for sentence in _sentences(study, metric)],
    )


Runs = dict[tuple[str, str, int], RunResult]


def _cells(study: Study, metrics: Sequence[str], runs: Runs) -> list[CellFigures]:
    figures = []
    for scenario in study.scenarios:
        for method in study.methods:
            here = [runs[scenario, method, s] for s in study.seeds if (scenario, method, s) in runs]
            if not here:
                continue
            scores = {}
            for metric in metrics:
                means = [mean for run in here if (mean := run.mean(metric)) is not None]
                if means:
                    scores[metric] = mean_std(means)
            seconds = sum(run.training_seconds for run in here) / len(here)
            first = here[0]
            figures.append(
                CellFigures(
                    *(scenario, method, scores),
                    *(first.parameters, first.macs_per_second, seconds),
                )
            )
    return figures


def _metric(
    study: Study, control: str, column: Column, differences: Sequence[float], runs: Runs
) -> MetricFindings:
    """``differences`` are those of repeated runs, for the noise floor."""
    others = [method for method in study.methods if method != control]
    if control != study.control:  # their difference is in the table of the control
        others.remove(study.control)
    compared: dict[tuple[str, str], Comparison] = {}
    for scenario in study.scenarios:
        for method in others:
            pair = _paired(study, column.field, runs, scenario, (method, control))
            if pair is None:
                continue
            comparison = compare(*pair, noise_floor(differences, len(pair[0])))
            if comparison is not None:
                compared[scenario, method] = comparison
    corrected = dict(zip(compared, correct(list(compared.values())), strict=True))
    floor = noise_floor(differences, len(study.seeds))
    return MetricFindings(column.field, control, column.title, column.digits, floor, corrected)


def _repeat_differences(metric: str, results: Sequence[RunResult], runs: Runs) -> list[float]:
    """Second run minus first, of the cells that were run again from other initial weights."""
    differences = []
    for again in results:
        first = runs.get((again.scenario, again.method, again.seed))
        if again.kind != "initialisation" or first is None:
            continue
        before, after = first.mean(metric), again.mean(metric)
        if before is not None and after is not None:
            differences.append(after - before)
    return differences


def _paired(
    study: Study, metric: str, runs: Runs, scenario: str, methods: tuple[str, str]
) -> tuple[Array, Array] | None:
    """Scores ``[seeds, utterances]`` of two methods, over the seeds that both have."""
    rows: list[tuple[Sequence[float | None], Sequence[float | None]]] = []
    for seed in study.seeds:
        one, other = (runs.get((scenario, method, seed)) for method in methods)
        if one is None or other is None:
            continue
        if one.utterances == other.utterances and one.scores.get(metric):
            rows.append((one.scores[metric], other.scores[metric]))
    if not rows:
        return None
    of_one, of_other = (np.array([row[side] for row in rows], dtype=np.float64) for side in (0, 1))
    return of_one, of_other


def _determinism(results: Sequence[RunResult], runs: Runs) -> Determinism:
    pairs = [
        (result.weights_sha256, runs[place].weights_sha256)
        for result in results
        if result.kind == "identical"
        and (place := (result.scenario, result.method, result.seed)) in runs
    ]
    return Determinism(len(pairs), sum(one == other for one, other in pairs))


def _sentences(study: Study, findings: MetricFindings) -> list[str]:
    """One sentence per method, made of nothing but the verdicts."""
    sentences = []
    for method in study.methods:
        verdicts = {
            scenario: comparison.verdict
            for (scenario, compared), comparison in findings.comparisons.items()
            if compared == method
        }
        if not verdicts:
            continue
        parts = []
        for verdict in ("better", "worse", "not distinguishable"):
            where = [scenario for scenario, said in verdicts.items() if said == verdict]
            if not where:
                continue
            told = f"{verdict} {'from' if verdict == 'not distinguishable' else 'than'}"
            count = f"{len(where)} of {len(verdicts)} ({', '.join(where)})"
            parts.append(f"{told} {findings.control} in {count}")
        sentences.append(f"{findings.title}: {method} is {', '.join(parts)}.")
    return sentences


def noisy_score(findings: Findings, metric: str) -> float | None:
    """The score of doing nothing."""
    for result in findings.references:
        if result.method == NOISY:
            return result.mean(metric)
    return None
