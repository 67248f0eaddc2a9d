"""What the ways of quantizing cost in quality, on held-out mixtures.

    python -m tests.benchmarks.quantizing RUN… --data ../shared/data [--fine-tune 200]
        [--unbalance 4]

Run from the project's root. Prints Markdown: for each run and way, what the int8 file loses against
the float graph (negative: it gains), the SNR between the two, mean and least, and the seconds that
quantizing took. All files are run in LiteRT's reference kernels through the streaming path.

--unbalance makes channels of very different size first, and weights that undo it: the same network
in float. Factors are log-normal with half that many nepers.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from distill.checkpoint import load_checkpoint
from distill.corpus import open_corpus
from export.calibration import stack_features
from export.equalisation import equalise
from export.fine_tuning import fine_tune
from export.lowering import lower
from export.material import gather
from export.preparation import Quantizing, prepare
from export.quality import snr_db
from export.quality_budget import DEFAULT_BUDGET
from export.quantization import QuantizedGraph, quantize_graph
from export.step_graph import StepGraph
from export.trial import Reference, denoise_as_device, float_reference
from runtime.metrics import mean_scores, score_many

WAYS: dict[str, Quantizing] = {
    "minmax": Quantizing(),
    "percentile 99.999": Quantizing(ranges="percentile", percentile=99.999),
    "percentile 99.99": Quantizing(ranges="percentile", percentile=99.99),
    "percentile 99.9": Quantizing(ranges="percentile", percentile=99.9),
    "mse": Quantizing(ranges="mse"),
    "minmax, equalised": Quantizing(equalise=True),
    "minmax, biases corrected": Quantizing(correct_biases=True),
    "minmax, both": Quantizing(equalise=True, correct_biases=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--fine-tune", type=int, default=0)
    parser.add_argument("--unbalance", type=float, default=0.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    material = gather(open_corpus(options.data))
    print("| run | way | SI-SDR lost | PESQ lost | SNR | least SNR | s |\n|" + " --- |" * 7)
    for run in options.runs:
        checkpoint = load_checkpoint(run)
        graph, contract = lower(checkpoint.network), checkpoint.record.contract
        if options.unbalance:
            graph = _unbalanced(graph, options.unbalance)
        reference = float_reference(graph, contract, material.held_out, DEFAULT_BUDGET)
        for name, settings in WAYS.items():
            started = time.perf_counter()
            quantized = prepare(graph, contract, material, ["int8"], settings).quantized["int8"]
            _print(str(run), name, quantized, reference, time.perf_counter() - started)
        plain = prepare(graph, contract, material, ["int8", "int16x8"])
        _print(str(run), "minmax, int16x8", plain.quantized["int16x8"], reference)
        if options.fine_tune:
            started = time.perf_counter()
            stacked = stack_features(contract, material.calibration)
            tuned = fine_tune(
                graph,
                plain.quantized["int8"],
                stacked,
                contract.compression,
                options.fine_tune,
            )
            quantized = quantize_graph(tuned.graph, plain.calibration)
            name = f"minmax, fine-tuned {options.fine_tune} steps"
            _print(str(run), name, quantized, reference, time.perf_counter() - started)


def _unbalanced(graph: StepGraph, spread: float) -> StepGraph:
    """Equalisation told that channels have sizes which they have not."""
    rng = np.random.default_rng(0)
    tensors = (*graph.inputs, *(operator.output for operator in graph.operators))
    reach = {
        tensor.name: np.exp(rng.normal(0.0, spread, tensor.shape[3])).astype(np.float32)
        for tensor in tensors
    }
    return equalise(graph, reach).graph


def _print(
    run: str, way: str, quantized: QuantizedGraph, reference: Reference, seconds: float = 0.0
) -> None:
    estimates = denoise_as_device(quantized, reference.contract, reference.mixtures)
    pairs = [(item.clean, one) for item, one in zip(reference.mixtures, estimates, strict=True)]
    scores = mean_scores(score_many(pairs, metrics=reference.budget.metrics))
    lost = reference.budget.lost(reference.scores, scores)
    ratios = [snr_db(one, two) for one, two in zip(reference.estimates, estimates, strict=True)]
    print(
        f"| {run} | {way} | {lost['si_sdr']:+.2f} dB | {lost['pesq_wb']:+.3f} | "
        f"{np.mean(ratios):.1f} dB | {min(ratios):.1f} dB | {seconds:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
