"""Mixtures drawn ahead of the training that consumes them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from distill.corpus import FloatArray
from distill.mixing import Mixer

AHEAD = 3  # batches waiting: enough for a slow one (a long file being decoded) to go unnoticed


@dataclass(frozen=True)
class Drawn:
    """Noisy and clean signals ``[rows, samples]``, and the seconds that were spent waiting."""

    noisy: FloatArray
    clean: FloatArray
    waited: float


def draw_ahead(
    mixer: Mixer, steps: range, batch: int, share: range
) -> Generator[Drawn, None, None]:
    """Rows ``share`` of each step's ``batch`` mixtures, in order.

    Which mixtures a step sees depends on the step and the batch alone, never on how many
    processes divide them. One thread is enough: numpy gives way to torch while it computes.
    """

    def draw(step: int) -> tuple[FloatArray, FloatArray]:
        return mixer.rows(step * batch + share.start, len(share))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mixing") as pool:
        pending: deque[Future[tuple[FloatArray, FloatArray]]] = deque()
        coming = iter(steps)
        try:
            for _ in steps:
                while len(pending) < AHEAD and (step := next(coming, None)) is not None:
                    pending.append(pool.submit(draw, step))
                begun = time.perf_counter()
                noisy, clean = pending.popleft().result()
                yield Drawn(noisy, clean, time.perf_counter() - begun)
        finally:
            for future in pending:
                future.cancel()
