"""What a listener gets from the float graph and from a quantized file, on the same mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from distill.mixing import Mixture
from export.calibration import stack_features
from export.executor import StepExecutor
from export.material import Signal
from export.step_graph import StepGraph
from runtime.artefact import Sidecar
from runtime.denoiser import MultichannelDenoiser
from runtime.engines import Engine
from runtime.metrics import Scores, mean_scores, score_many
from runtime.stft import StftContract, analyse, apply_mask, synthesise


@dataclass(frozen=True)
class Comparison:
    """Mean scores of each row over ``items`` mixtures, and how far the file is from float.

    ``snr_db`` is the mean over the mixtures of float energy over the energy of the difference,
    ``worst_snr_db`` that of the mixture where it is least.
    """

    noisy: Scores
    float32: Scores
    quantized: Scores
    snr_db: float
    worst_snr_db: float
    items: int
    label: str = "int8"  # of the quantized row

    def scores(self) -> dict[str, dict[str, float]]:
        """Row → metric → mean, without what was not measured; for the sidecar."""
        rows = {"noisy": self.noisy, "float": self.float32, self.label: self.quantized}
        return {name: measured(row) for name, row in rows.items()}


@dataclass(frozen=True)
class FloatQuality:
    """Signals denoised by the float graph, and the scores of the noisy and the denoised ones."""

    estimates: Sequence[Signal] = field(repr=False)
    noisy: Scores
    float32: Scores

    def scores(self) -> dict[str, dict[str, float]]:
        return {"noisy": measured(self.noisy), "float": measured(self.float32)}


def float_quality(
    graph: StepGraph, contract: StftContract, mixtures: Sequence[Mixture]
) -> FloatQuality:
    """Denoise with the numpy executor, all mixtures side by side, and score."""
    estimates = denoise_side_by_side(graph, contract, [item.noisy for item in mixtures])
    return FloatQuality(
        estimates=estimates,
        noisy=_mean(mixtures, [item.noisy for item in mixtures]),
        float32=_mean(mixtures, estimates),
    )


def compare_quantized(
    reference: FloatQuality, sidecar: Sidecar, engine: Engine, mixtures: Sequence[Mixture]
) -> Comparison:
    """Denoise with a quantized file through the streaming path, beside the float graph."""
    estimates = []
    for item in mixtures:
        denoiser = MultichannelDenoiser(sidecar, engine, 1)
        column = item.noisy[:, np.newaxis]
        estimates.append(np.concatenate((denoiser.push(column), denoiser.finish()))[:, 0])
    ratios = [snr_db(one, other) for one, other in zip(reference.estimates, estimates, strict=True)]
    return Comparison(
        noisy=reference.noisy,
        float32=reference.float32,
        quantized=_mean(mixtures, estimates),
        snr_db=float(np.mean(ratios)),
        worst_snr_db=min(ratios),
        items=len(mixtures),
        label=sidecar.target.partition("-")[2],
    )


def denoise_side_by_side(
    graph: StepGraph, contract: StftContract, signals: Sequence[Signal]
) -> list[Signal]:
    """Denoised signals ``[samples]``, computed as independent streams of one batch."""
    masks = StepExecutor(graph).masks(stack_features(contract, signals))
    denoised = []
    for signal, mask in zip(signals, masks, strict=True):
        spectra = analyse(contract, signal)
        masked = apply_mask(contract, spectra, mask[: len(spectra)])
        denoised.append(synthesise(contract, masked, len(signal)))
    return denoised


def snr_db(reference: Signal, estimate: Signal) -> float:
    """Energy of the reference over the energy of the difference, at most 120 dB."""
    energy = float(np.sum(np.square(reference, dtype=np.float64)))
    difference = float(np.sum(np.square(reference - estimate, dtype=np.float64)))
    if difference == 0.0:
        return 120.0
    return min(10.0 * float(np.log10(max(energy, 1e-30) / difference)), 120.0)


def measured(scores: Scores) -> dict[str, float]:
    """The metrics that were measured, by name."""
    return {name: value for name, value in asdict(scores).items() if value is not None}


def _mean(mixtures: Sequence[Mixture], estimates: Sequence[Signal]) -> Scores:
    pairs = [(item.clean, signal) for item, signal in zip(mixtures, estimates, strict=True)]
    return mean_scores(score_many(pairs))
