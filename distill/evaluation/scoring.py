"""The rows of a quality table: the noisy input, then every candidate, item by item."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from distill.evaluation.candidates import Candidate, Recordings
from distill.mixing import Mixture
from runtime.metrics import BASIC, Audiogram, Pair, Scores, mean_scores, score_stream
from runtime.stft import StftContract

NOISY = "Noisy"

Progress = Callable[[int, int], None]  # scores computed, scores in all


@dataclass(frozen=True)
class Row:
    """One line of a quality table: scores of every item by ``metrics``, and their means."""

    name: str
    parameters: int | None
    items: tuple[Scores, ...]
    metrics: tuple[str, ...] = BASIC

    @property
    def scores(self) -> Scores:
        return mean_scores(self.items)


def evaluate(
    candidates: Sequence[Candidate | Recordings],
    mixtures: Sequence[Mixture],
    contract: StftContract,
    *,
    metrics: Sequence[str] = BASIC,
    audiogram: Audiogram | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """A row for the noisy input, then one for each candidate.

    Candidates denoise here, one signal after the other and each in its own contract, of which
    only the rate must be that of ``contract``; ``workers`` processes (all cores by default) score.
    """

    def pairs() -> Iterator[Pair]:
        yield from ((mixture.clean, mixture.noisy) for mixture in mixtures)
        for candidate in candidates:
            for mixture in mixtures:
                yield mixture.clean, candidate.estimate(mixture)

    names = [(NOISY, None), *((one.name, one.parameters) for one in candidates)]
    total = len(names) * len(mixtures)
    workers = min(workers or os.cpu_count() or 1, max(total, 1))
    scores: list[Scores] = []
    for score in score_stream(pairs(), contract.sample_rate, workers, metrics, audiogram):
        scores.append(score)
        if progress is not None:
            progress(len(scores), total)
    return [
        Row(name, parameters, tuple(scores[at : at + len(mixtures)]), tuple(metrics))
        for (name, parameters), at in zip(names, range(0, total, len(mixtures) or 1), strict=True)
    ]
