"""Scoring one pair or many: in this process, or in others that each use one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

import numpy as np

from runtime.metrics.dnsmos import dnsmos
from runtime.metrics.hearing import Audiogram, haspi, hasqi
from runtime.metrics.intrusive import AudioArray, check_pair, estoi, pesq_wb, si_sdr, stoi
from runtime.metrics.scores import BASIC, NEED_AUDIOGRAM, Scores
from targets.errors import InputError

Pair = tuple[AudioArray, AudioArray]  # reference, estimate

LOOK_AHEAD = 4  # pairs per worker that are drawn before the first of them is scored

# Threads that outnumber the cores wait for each other, and sums depend on their number.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def score(
    reference: AudioArray,
    estimate: AudioArray,
    rate: int = 16_000,
    metrics: Sequence[str] = BASIC,
    audiogram: Audiogram | None = None,
) -> Scores:
    """The named metrics of one pair of ``[samples]`` signals.

    What compares with the reference is None where that is silent. Raises InputError for signals
    of different lengths or that are not finite, and for HASPI or HASQI without an audiogram.
    """
    check_pair(reference, estimate)
    if audiogram is None and any(name in metrics for name in NEED_AUDIOGRAM):
        raise InputError(
            "HASPI and HASQI need an audiogram.", hint="Name a standard one, such as N3."
        )
    silent = not np.any(np.asarray(reference) != np.mean(reference))
    judged = dnsmos(estimate, rate) if "dnsmos" in metrics else None
    sig, bak, ovrl = judged or (None, None, None)
    against = {} if silent else _against(reference, estimate, rate, metrics, audiogram)
    return Scores(
        si_sdr=against.get("si-sdr"),
        pesq_wb=against.get("pesq"),
        stoi=against.get("stoi"),
        estoi=against.get("estoi"),
        dnsmos_sig=sig,
        dnsmos_bak=bak,
        dnsmos_ovrl=ovrl,
        haspi=against.get("haspi"),
        hasqi=against.get("hasqi"),
    )


def score_many(
    pairs: Sequence[Pair],
    rate: int = 16_000,
    workers: int = 1,
    metrics: Sequence[str] = BASIC,
    audiogram: Audiogram | None = None,
) -> list[Scores]:
    """Scores of many pairs in their order: the same numbers for any number of worker processes.

    Workers are started afresh (not forked), which is safe beside torch and its threads; a script
    that asks for more than one must keep its entry point under ``if __name__ == "__main__"``.
    """
    return list(score_stream(pairs, rate, min(workers, len(pairs)), metrics, audiogram))


def score_stream(
    pairs: Iterable[Pair],
    rate: int = 16_000,
    workers: int = 1,
    metrics: Sequence[str] = BASIC,
    audiogram: Audiogram | None = None,
) -> Iterator[Scores]:
    """Scores of pairs in their order; while workers score, only so many next pairs are drawn that
    none of them waits. Raises InputError where a worker dies."""
    work = partial(score_pair, rate=rate, metrics=tuple(metrics), audiogram=audiogram)
    if workers <= 1:
        yield from map(work, pairs)
        return
    with scoring_processes(workers) as pool:
        waiting: deque[Future[Scores]] = deque()
        try:
            for pair in pairs:
                waiting.append(pool.submit(work, pair))
                if len(waiting) > LOOK_AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise InputError(
                "A process that computes scores was ended from outside.",
                hint="Memory may be short: use fewer --workers.",
            ) from error


def score_pair(
    pair: Pair, rate: int, metrics: Sequence[str], audiogram: Audiogram | None
) -> Scores:
    """:func:`score` of a pair given as one argument, for a pool."""
    return score(pair[0], pair[1], rate, metrics, audiogram)


@contextmanager
def scoring_processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes with one thread each; what still waits is dropped on an error."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_stopping_to_parent)
    try:
        with _environment(_ONE_THREAD):
            pool.submit(int).result()  # all processes start with the first task
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_stopping_to_parent() -> None:
    """Ctrl-C goes to every process of a terminal; only the parent is to answer it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _against(
    reference: AudioArray,
    estimate: AudioArray,
    rate: int,
    metrics: Sequence[str],
    audiogram: Audiogram | None,
) -> dict[str, float | None]:
    """The metrics that compare with the reference, by name."""
    values: dict[str, float | None] = {}
    for name in metrics:
        match name:
            case "si-sdr":
                values[name] = si_sdr(reference, estimate)
            case "pesq":
                values[name] = pesq_wb(reference, estimate, rate)
            case "stoi":
                values[name] = stoi(reference, estimate, rate)
            case "estoi":
                values[name] = estoi(reference, estimate, rate)
            case "haspi" if audiogram is not None:
                values[name] = haspi(reference, estimate, audiogram, rate)
            case "hasqi" if audiogram is not None:
                values[name] = hasqi(reference, estimate, audiogram, rate)
    return values
