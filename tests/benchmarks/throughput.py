"""How busy training keeps the processor: share of the time spent waiting for mixtures, and
mixtures per second beside a loop that only trains and one that draws before it trains.

    python tests/benchmarks/throughput.py [--network tiny] [--data DATA] [--threads 1] [--rounds 5]

The three kinds take turns in one process, so that whatever else the machine does meets all of
them alike; medians over the rounds are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch

from distill.corpus import FloatArray, open_corpus
from distill.losses import LossWeights
from distill.mixing import Mixer, MixSettings
from distill.objective import Objective
from distill.prefetch import draw_ahead
from distill.processes import launch
from distill.recipe import Training, load_recipe, resolve_network
from distill.training import Run
from distill.unet import UNet
from runtime.stft import StftContract

Batch = tuple[FloatArray, FloatArray]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--network", default="tiny")
    options.add_argument("--data", default="demo")
    options.add_argument("--recipe", help="take the mixing settings from this recipe")
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--steps", type=int, default=40, help="in each round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.set_flush_denormal(True)
    mixing = load_recipe(chosen.recipe).mixing if chosen.recipe else MixSettings()
    mixer = Mixer(open_corpus(chosen.data), "train", mixing, 0)
    plan = Training(steps=10**6, batch=chosen.batch)
    _, config = resolve_network(chosen.network)
    run = Run(UNet(config), Objective(StftContract(), LossWeights()), plan, launch())

    kinds: dict[str, Callable[[range], Iterator[Batch]]] = {
        "only training": lambda steps: _same(mixer, steps, plan.batch),
        "drawn before each step": lambda steps: _drawn_first(mixer, steps, plan.batch),
        "drawn ahead (as shipped)": lambda steps: _ahead(mixer, steps, plan.batch),
    }
    _time(run, kinds["drawn before each step"], range(5))  # files decoded, kernels chosen
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    waits: dict[str, list[float]] = {kind: [] for kind in kinds}
    begin = 5
    for _ in range(chosen.rounds):
        for kind, batches in kinds.items():
            total, waited = _time(run, batches, range(begin, begin + chosen.steps))
            seconds[kind].append(total)
            waits[kind].append(waited / total)
            begin += chosen.steps
    reference = statistics.median(seconds["only training"])
    print(
        f"{chosen.network}, batch {plan.batch} × {mixing.seconds:g} s, {chosen.threads} thread(s)"
    )
    print(f"{'':26}{'mixtures/s':>12}{'waiting':>10}{'of training alone':>20}")
    for kind in kinds:
        median = statistics.median(seconds[kind])
        rate = chosen.steps * plan.batch / median
        share = statistics.median(waits[kind])
        print(f"{kind:26}{rate:12.1f}{share:10.1%}{reference / median:20.1%}")


def _time(
    run: Run, batches: Callable[[range], Iterator[Batch]], steps: range
) -> tuple[float, float]:
    """Seconds in all, and those spent waiting for mixtures."""
    waited, begun = 0.0, time.perf_counter()
    source = batches(steps)
    for step in steps:
        asked = time.perf_counter()
        noisy, clean = next(source)
        waited += time.perf_counter() - asked
        run.step(step, noisy, clean)
    return time.perf_counter() - begun, waited


def _same(mixer: Mixer, steps: range, batch: int) -> Iterator[Batch]:
    once = mixer.rows(0, batch)
    for _ in steps:
        yield once


def _drawn_first(mixer: Mixer, steps: range, batch: int) -> Iterator[Batch]:
    for step in steps:
        yield mixer.rows(step * batch, batch)


def _ahead(mixer: Mixer, steps: range, batch: int) -> Iterator[Batch]:
    for drawn in draw_ahead(mixer, steps, batch, range(batch)):
        yield drawn.noisy, drawn.clean


if __name__ == "__main__":
    main()
