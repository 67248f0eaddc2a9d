"""A quantized graph tried out: its file denoises the held-out mixtures as a device would."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from distill.mixing import Mixture
from export.material import Signal
from export.quality import denoise_side_by_side, measured, snr_db
from export.quality_budget import QualityBudget
from export.quantization import QuantizedGraph
from export.step_graph import StepGraph, Tensor
from export.tflite import write_quantized
from runtime.artefact import ModelFile, Network, Sidecar, StateSpec, TensorSpec
from runtime.denoiser import MultichannelDenoiser
from runtime.engines import engine_from_bytes
from runtime.metrics import Scores, mean_scores, metric_versions, score_many
from runtime.stft import StftContract
from targets.errors import GateUnavailable


@dataclass(frozen=True)
class Reference:
    """What the float graph makes of the held-out mixtures, and how that scores in a budget."""

    contract: StftContract
    mixtures: Sequence[Mixture] = field(repr=False)
    budget: QualityBudget
    estimates: Sequence[Signal] = field(repr=False)
    scores: Scores


@dataclass(frozen=True)
class Trial:
    """One file on the held-out mixtures: scores, losses by metric, mean SNR to the float graph.

    ``layers`` are the tensors named to be int16; ``cost`` that of the mix: see
    :mod:`export.widening_cost`.
    """

    what: str
    layers: tuple[str, ...]
    cost: float
    scores: dict[str, float]
    losses: dict[str, float | None]
    snr_db: float
    inside: bool


def float_reference(
    graph: StepGraph,
    contract: StftContract,
    mixtures: Sequence[Mixture],
    budget: QualityBudget,
) -> Reference:
    """Denoise with the float graph and score. Raises GateUnavailable without a metric's package."""
    absent = [
        name
        for name, version in metric_versions(budget.metrics).items()
        if version == "not installed"
    ]
    if absent:
        raise GateUnavailable(
            f"The quality budget ({budget}) needs {', '.join(absent)}, not installed here.",
            hint="pip install 'sordino[metrics]'",
        )
    estimates = denoise_side_by_side(graph, contract, [item.noisy for item in mixtures])
    return Reference(contract, mixtures, budget, estimates, _scores(mixtures, estimates, budget))


def try_out(
    quantized: QuantizedGraph,
    reference: Reference,
    what: str,
    layers: Sequence[str] = (),
    cost: float = 0.0,
) -> Trial:
    """Write the file, stream the held-out mixtures through LiteRT's reference kernels, score."""
    estimates = denoise_as_device(quantized, reference.contract, reference.mixtures)
    scores = _scores(reference.mixtures, estimates, reference.budget)
    losses = reference.budget.lost(reference.scores, scores)
    ratios = [snr_db(one, other) for one, other in zip(reference.estimates, estimates, strict=True)]
    return Trial(
        what=what,
        layers=tuple(layers),
        cost=cost,
        scores=measured(scores),
        losses=losses,
        snr_db=float(np.mean(ratios)),
        inside=reference.budget.inside(losses),
    )


def denoise_as_device(
    quantized: QuantizedGraph, contract: StftContract, mixtures: Sequence[Mixture]
) -> list[Signal]:
    """Denoised signals ``[samples]`` of the quantized graph's file, through the streaming path."""
    content = write_quantized(quantized)
    sidecar, engine = (
        _sidecar(quantized, contract, content),
        engine_from_bytes("litert-reference", content),
    )
    estimates = []
    for item in mixtures:
        denoiser = MultichannelDenoiser(sidecar, engine, 1)
        column = item.noisy[:, np.newaxis]
        estimates.append(np.concatenate((denoiser.push(column), denoiser.finish()))[:, 0])
    return estimates


def _sidecar(quantized: QuantizedGraph, contract: StftContract, content: bytes) -> Sidecar:
    """As much of a sidecar as running the file takes."""
    graph = quantized.graph

    def spec(tensor: Tensor) -> TensorSpec:
        affine = quantized.activations[tensor.name]
        return TensorSpec(
            name=tensor.name,
            shape=tensor.shape,
            dtype=affine.precision,
            scale=affine.scale,
            zero_point=affine.zero_point,
        )

    digest = hashlib.sha256(content).hexdigest()
    return Sidecar(
        name="trial",
        target="tflite",
        model=ModelFile(file="trial.tflite", bytes=len(content), sha256=digest),
        contract=contract,
        inputs=tuple(map(spec, graph.inputs)),
        outputs=tuple(map(spec, graph.outputs)),
        states=tuple(
            StateSpec(name=state.name, input=state.input.name, output=state.output.name)
            for state in graph.states
        ),
        network=Network(preset="", parameters=graph.parameters, macs_per_step=graph.macs),
    )


def _scores(
    mixtures: Sequence[Mixture], estimates: Sequence[Signal], budget: QualityBudget
) -> Scores:
    pairs = [(item.clean, signal) for item, signal in zip(mixtures, estimates, strict=True)]
    return mean_scores(score_many(pairs, metrics=budget.metrics))
