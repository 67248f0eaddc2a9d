"""Training one network: teacher, student alone, or student beside a teacher.

Every step is a function of (recipe, step number): a run killed at any point resumes to the same
bytes, and several processes see the mixtures that one would.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill import stft
from distill.mixing import Mixer, Mixture
from distill.objective import Learner, Losses, Objective, Terms, phases, terms
from distill.prefetch import draw_ahead
from distill.processes import from_all, launch
from distill.recipe import Training
from distill.training_log import TrainingLog
from distill.training_state import STATE, State, Tally, restore_state, save_state
from distill.unet import UNet
from runtime.metrics import si_sdr
from runtime.stft import StftContract
from targets.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SAVE_SECONDS = 20.0
LOG_STEPS = 20


@dataclass(frozen=True)
class Progress:
    """After ``step`` of ``steps``: smoothed loss, SI-SDR (dB) of the training mixtures.

    ``validation_si_sdr`` is the best so far; ``wait_share`` the share of the time since the last
    row of the log that went into waiting for mixtures.
    """

    step: int
    steps: int
    loss: float
    si_sdr: float
    validation_si_sdr: float | None = None
    wait_share: float = field(default=0.0, compare=False)


def learning_rate(plan: Training, step: int, steps: int | None = None) -> float:
    """Linear warm-up, then half a cosine down to zero at the last of ``steps`` [the plan's]."""
    steps = plan.steps if steps is None else steps
    warmup = max(1, round(plan.warmup * steps))
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    position = (step - warmup) / max(1, steps - warmup)
    return plan.learning_rate * 0.5 * (1.0 + math.cos(math.pi * position))


def train(
    network: UNet,
    objective: Objective,
    plan: Training,
    mixer: Mixer,
    folder: Path,
    run_id: str,
    *,
    fabric: Fabric | None = None,
    validation: Sequence[Mixture] = (),
    tensorboard: bool = False,
) -> Iterator[Progress]:
    """Train ``network`` in place, yielding after each step; it ends with the weights to keep.

    State and ``log.csv`` are kept in ``folder``; a run with the same ``run_id`` resumes there,
    another is refused. Raises InputError where the loss stops being finite, or where the batch
    cannot be divided among the processes.
    """
    fabric = launch(precision=plan.precision) if fabric is None else fabric
    share = share_of_batch(plan, fabric.world_size, fabric.global_rank)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(network, objective, plan, fabric)
    state = restore_state(folder / STATE, run_id, run.learner, run.optimiser, run.average)
    network.train()
    writes = fabric.is_global_zero
    saved = time.monotonic()
    steps = range(state.tally.step, plan.steps if not _stops(plan, state.tally) else 0)
    with (
        closing(draw_ahead(mixer, steps, plan.batch, share)) as batches,
        TrainingLog(folder, steps.start, tensorboard) if writes else nullcontext() as log,
    ):
        window = _Window()
        for step, drawn in zip(steps, batches, strict=True):
            losses, norm, rate = run.step(step, drawn.noisy, drawn.clean)
            window.add(drawn.waited)
            state = replace(state, tally=_count(state.tally, losses, norm, step))
            last = step + 1 == plan.steps
            scored = plan.validate_every and (last or (step + 1) % plan.validate_every == 0)
            score = run.validate(validation) if scored else None
            if score is not None:
                state = _judge(state, score, run.kept, patient=not run.supervised(step))
            stopped = last or _stops(plan, state.tally)
            wait_share = window.share
            if stopped or scored or (step + 1) % LOG_STEPS == 0:
                seconds = window.close()
                tally = replace(state.tally, seconds=state.tally.seconds + seconds)
                state = replace(state, tally=tally)
                if log is not None:
                    log.write(step + 1, _row(tally, losses, norm, rate, wait_share, score))
            if writes and (stopped or time.monotonic() - saved > SAVE_SECONDS):
                save_state(folder / STATE, run_id, run.learner, run.optimiser, run.average, state)
                saved = time.monotonic()
            tally = state.tally
            yield Progress(
                *(step + 1, plan.steps, tally.loss, tally.si_sdr), tally.best_si_sdr, wait_share
            )
            if stopped:
                break
    network.load_state_dict(state.best or run.kept)
    network.eval()


class Run:
    """A network under training: its learner, optimiser and averaged weights on one device."""

    def __init__(self, network: UNet, objective: Objective, plan: Training, fabric: Fabric) -> None:
        self._network, self._objective, self._plan = network, objective, plan
        self._fabric = fabric
        self._phases = phases(objective, plan.steps)
        self.learner = Learner(network, objective)
        self.optimiser = torch.optim.AdamW(
            self.learner.parameters(),
            plan.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=plan.weight_decay,
        )
        self._learner, self._optimiser = fabric.setup(self.learner, self.optimiser)
        self.average: Any = None
        if plan.ema:
            decay = get_ema_multi_avg_fn(plan.ema)
            self.average = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)

    def step(self, step: int, noisy: np.ndarray, clean: np.ndarray) -> tuple[Losses, float, float]:
        """One step on this process's mixtures; returns losses, gradient norm and rate."""
        phase, position, length = _phase(self._phases, step)
        rate = learning_rate(self._plan, position, length)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        wanted = terms(self._objective, phase)
        signals = zip(self._pieces(noisy), self._pieces(clean), strict=True)
        parts = [
            self._backward(one, other, wanted, last=index + 1 == self._plan.accumulate)
            for index, (one, other) in enumerate(signals)
        ]
        norm = self._fabric.clip_gradients(
            self._learner, self._optimiser, max_norm=self._plan.clip, error_if_nonfinite=False
        )
        losses = self._mean(parts)
        size = math.inf if norm is None else float(norm)
        if not math.isfinite(float(losses.total)) or not math.isfinite(size):
            raise InputError(
                f"Training diverged at step {step + 1} (the loss is not finite).",
                hint="Lower `learning_rate` in the recipe.",
            )
        self._optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self._network)
        return losses, size, rate

    def supervised(self, step: int) -> bool:
        """Whether the denoising loss takes part in a step; before, no better score is due."""
        return terms(self._objective, _phase(self._phases, step)[0]).supervised

    def _pieces(self, signals: np.ndarray) -> tuple[Tensor, ...]:
        on_device = torch.from_numpy(signals).to(self._fabric.device)
        return on_device.chunk(self._plan.accumulate)

    def _backward(self, noisy: Tensor, clean: Tensor, wanted: Terms, *, last: bool) -> Losses:
        """Add one piece's gradients; processes exchange them with the last piece only."""
        with self._fabric.no_backward_sync(self._learner, enabled=not last):
            losses: Losses = self._learner(noisy, clean, wanted)
            self._fabric.backward(losses.total / self._plan.accumulate)
        return Losses(*(value.detach() for value in losses))

    def _mean(self, parts: list[Losses]) -> Losses:
        """Over the pieces and the processes."""
        stacked = torch.stack([torch.stack(list(part)) for part in parts]).mean(dim=0)
        if self._fabric.world_size > 1:
            torch.distributed.all_reduce(stacked)
            stacked /= self._fabric.world_size
        return Losses(*stacked.cpu())

    @property
    def kept(self) -> dict[str, Tensor]:
        """The weights to keep as things stand: averaged ones where there are."""
        source: nn.Module = self._network if self.average is None else self.average.module
        return {name: value.detach().clone() for name, value in source.state_dict().items()}

    def validate(self, mixtures: Sequence[Mixture]) -> float:
        """Mean SI-SDR in dB of the weights that would be kept.

        Each process scores a share. All have the same mean, to the last bit: whether to stop is
        decided in each of them, and where they disagreed they would wait for each other for ever.
        """
        if not mixtures:
            raise InputError("There is nothing to validate on.", hint="Leave out validate_every.")
        network = self._network if self.average is None else self.average.module
        network.eval()
        contract = self._objective.contract
        share = mixtures[self._fabric.global_rank :: self._fabric.world_size]
        scores = [si_sdr(mix.clean, enhance(network, contract, mix.noisy)) for mix in share]
        network.train()
        return math.fsum(from_all(scores)) / len(mixtures)


class _Window:
    """Time since the last row of the log, and how much of it was spent waiting for mixtures."""

    def __init__(self) -> None:
        self._begun, self._waited = time.perf_counter(), 0.0

    def add(self, waited: float) -> None:
        self._waited += waited

    @property
    def share(self) -> float:
        return self._waited / max(time.perf_counter() - self._begun, 1e-9)

    def close(self) -> float:
        """Start anew; returns the seconds that have passed."""
        passed = time.perf_counter() - self._begun
        self._begun, self._waited = time.perf_counter(), 0.0
        return passed


def share_of_batch(plan: Training, processes: int, rank: int) -> range:
    """The rows of each batch that the process ``rank`` of so many trains on.

    Raises InputError where a batch cannot be divided.
    """
    pieces = processes * plan.accumulate
    if plan.batch % pieces:
        raise InputError(
            f"A batch of {plan.batch} cannot be divided among {processes} processes in "
            f"{plan.accumulate} pieces each.",
            hint="Make `batch` a multiple of both.",
        )
    rows = plan.batch // processes
    return range(rank * rows, (rank + 1) * rows)


def _phase(lengths: Sequence[int], step: int) -> tuple[int, int, int]:
    """(phase, step within it, its length) of a step."""
    for phase, length in enumerate(lengths):
        if step < length:
            return phase, step, length
        step -= length
    raise ValueError("step lies behind the schedule")


def _stops(plan: Training, tally: Tally) -> bool:
    return bool(plan.patience) and tally.since_best >= plan.patience


def _count(tally: Tally, losses: Losses, norm: float, step: int) -> Tally:
    return replace(
        tally,
        step=step + 1,
        loss=_smooth(tally.loss, float(losses.total), step),
        si_sdr=_smooth(tally.si_sdr, float(losses.si_sdr), step),
    )


def _judge(state: State, score: float, weights: dict[str, Tensor], *, patient: bool) -> State:
    """Keep the weights of the best validation so far; ``patient``: a worse one does not count."""
    best = state.tally.best_si_sdr
    if best is None or score > best:
        return State(replace(state.tally, best_si_sdr=score, since_best=0), weights)
    since_best = state.tally.since_best + (0 if patient else 1)
    return replace(state, tally=replace(state.tally, since_best=since_best))


def _row(
    tally: Tally, losses: Losses, norm: float, rate: float, wait_share: float, score: float | None
) -> dict[str, float]:
    row = {
        "seconds": tally.seconds,
        "learning_rate": rate,
        "loss": tally.loss,
        "denoising": float(losses.denoising),
        "alignment": float(losses.alignment),
        "si_sdr_db": tally.si_sdr,
        "gradient_norm": norm,
        "wait_share": wait_share,
    }
    return row if score is None else row | {"validation_si_sdr_db": score}


def _smooth(mean: float, value: float, step: int) -> float:
    """Exponential mean over about 50 steps, unbiased at the beginning."""
    share = max(1.0 / 50.0, 1.0 / (step + 1))
    return (1.0 - share) * mean + share * value


def enhance(network: UNet, contract: StftContract, noisy: np.ndarray) -> np.ndarray:
    """Denoise one signal ``[samples]`` with a torch network over the whole sequence."""
    device = next(network.parameters()).device
    with torch.no_grad():
        spectra = stft.analyse(contract, torch.from_numpy(noisy)[None].to(device))
        mask = network(stft.features(contract, spectra)).mask
        signal = stft.synthesise(contract, stft.apply_mask(contract, spectra, mask), len(noisy))
    result: np.ndarray = signal[0].cpu().numpy()
    return result
