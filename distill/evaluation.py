"""Scores of checkpoints and artefacts on held-out mixtures, always beside the noisy input."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.checkpoint import load_checkpoint
from distill.mixing import Mixture
from distill.training import enhance
from runtime.artefact import load_artefact
from runtime.denoiser import denoise_signal
from runtime.metrics import Scores, mean_scores, metric_versions, score_many
from runtime.stft import FloatArray, StftContract

NOISY = "Noisy"


@dataclass(frozen=True)
class Candidate:
    """A denoiser under a name: ``denoise`` maps a noisy signal ``[samples]`` to its estimate."""

    name: str
    parameters: int
    denoise: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Row:
    """One line of a quality table: scores of every item, and their means."""

    name: str
    parameters: int | None
    items: tuple[Scores, ...]

    @property
    def scores(self) -> Scores:
        return mean_scores(self.items)


def evaluate(
    candidates: Sequence[Candidate], mixtures: Sequence[Mixture], contract: StftContract
) -> list[Row]:
    """A row for the noisy input, then one for each candidate."""
    noisy = [mixture.noisy for mixture in mixtures]

    def row(name: str, parameters: int | None, estimates: Sequence[FloatArray]) -> Row:
        pairs = [(mix.clean, signal) for mix, signal in zip(mixtures, estimates, strict=True)]
        scores = score_many(pairs, contract.sample_rate, os.cpu_count() or 1)
        return Row(name, parameters, tuple(scores))

    return [
        row(NOISY, None, noisy),
        *(
            row(candidate.name, candidate.parameters, [candidate.denoise(one) for one in noisy])
            for candidate in candidates
        ),
    ]


def checkpoint_candidate(path: Path, name: str, device: str = "cpu") -> Candidate:
    """The torch network of a checkpoint folder."""
    checkpoint = load_checkpoint(path)
    network = checkpoint.network.to(device)
    return Candidate(
        name,
        sum(parameter.numel() for parameter in network.parameters()),
        lambda noisy: enhance(network, checkpoint.record.contract, noisy),
    )


def artefact_candidate(path: Path, name: str, engine: str | None = None) -> Candidate:
    """A model file, streamed frame by frame through ``engine`` as on a device."""
    artefact = load_artefact(path)
    return Candidate(
        name,
        artefact.sidecar.network.parameters,
        lambda noisy: denoise_signal(artefact, engine, noisy),
    )


def open_candidate(path: Path, engine: str | None = None) -> Candidate:
    """A checkpoint or run folder, or a model file, named by its path."""
    if path.is_dir():
        return checkpoint_candidate(path, str(path))
    return artefact_candidate(path, path.name, engine)


def report(rows: Sequence[Row]) -> Mapping[str, object]:
    """Rows with every item's scores and the versions of the metrics, for a JSON file."""
    return {
        "metrics": metric_versions(),
        "rows": [
            {
                "name": row.name,
                "parameters": row.parameters,
                "mean": asdict(row.scores),
                "items": [asdict(item) for item in row.items],
            }
            for row in rows
        ],
    }
