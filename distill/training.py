"""Training one network: teacher, student alone, or student beside a teacher.

A plain loop rather than a trainer framework: every step is a function of (recipe, step number),
the whole state is one safetensors file, and a run killed at any point resumes to the same bytes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from distill import stft
from distill.losses import LossWeights, denoising_loss
from distill.methods.cosine_latent import active_frames
from distill.mixing import Mixer
from distill.recipe import Training
from distill.unet import UNet
from runtime.artefact import write_atomically
from runtime.stft import StftContract
from targets.errors import InputError

SAVE_SECONDS = 20.0
STATE = "training.safetensors"


@dataclass(frozen=True)
class Objective:
    """What is minimised. ``method`` maps both latents to a loss, weighted by ``weight``."""

    contract: StftContract
    loss: LossWeights
    teacher: UNet | None = None
    method: nn.Module | None = None
    weight: float = 0.0


@dataclass(frozen=True)
class Progress:
    """After ``step`` of ``steps``: smoothed loss, SI-SDR (dB) of the training mixtures."""

    step: int
    steps: int
    loss: float
    si_sdr: float


def learning_rate(plan: Training, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    warmup = max(1, round(plan.warmup * plan.steps))
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    position = (step - warmup) / max(1, plan.steps - warmup)
    return plan.learning_rate * 0.5 * (1.0 + math.cos(math.pi * position))


def train(
    network: UNet, objective: Objective, plan: Training, mixer: Mixer, folder: Path, run_id: str
) -> Iterator[Progress]:
    """Train ``network`` in place, yielding after each step.

    State is kept in ``folder``; a run with the same ``run_id`` resumes there, another is refused.
    Raises InputError where the loss stops being finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = next(network.parameters()).device
    modules = nn.ModuleDict({"network": network})
    if objective.method is not None:
        modules["method"] = objective.method.to(device)
    optimiser = torch.optim.AdamW(
        modules.parameters(), plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay
    )
    loss, ratio, start = _restore(folder / STATE, run_id, modules, optimiser)
    network.train()
    saved = time.monotonic()
    with closing(_batches(mixer, plan, start)) as batches:
        for step, (noisy, clean) in enumerate(batches, start):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(plan, step)
            optimiser.zero_grad(set_to_none=True)
            total, si_sdr = _loss(network, objective, noisy.to(device), clean.to(device))
            total.backward()
            nn.utils.clip_grad_norm_(modules.parameters(), plan.clip)
            optimiser.step()
            value = float(total.detach())
            if not math.isfinite(value):
                raise InputError(
                    f"Training diverged at step {step + 1} (the loss is not finite).",
                    hint="Lower `learning_rate` in the recipe.",
                )
            loss, ratio = _smooth(loss, value, step), _smooth(ratio, float(si_sdr), step)
            last = step + 1 == plan.steps
            if last or time.monotonic() - saved > SAVE_SECONDS:
                _save(folder / STATE, run_id, modules, optimiser, loss, ratio, step + 1)
                saved = time.monotonic()
            yield Progress(step + 1, plan.steps, loss, ratio)
    network.eval()


def _loss(
    network: UNet, objective: Objective, noisy: Tensor, clean: Tensor
) -> tuple[Tensor, Tensor]:
    contract = objective.contract
    spectra = stft.analyse(contract, noisy)
    inputs = stft.features(contract, spectra)
    output = network(inputs)
    estimate = stft.apply_mask(contract, spectra, output.mask)
    level = noisy.square().mean(dim=-1).sqrt()
    total, si_sdr = denoising_loss(contract, objective.loss, estimate, clean, level)
    if objective.method is not None and objective.teacher is not None:
        with torch.no_grad():
            latent = objective.teacher(inputs).latent
        alignment = objective.method(output.latent, latent, active_frames(inputs))
        total = total + objective.weight * alignment
    return total, si_sdr


def _batches(
    mixer: Mixer, plan: Training, start: int
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Mixtures of each remaining step, the next one drawn while this one is used."""

    def draw(step: int) -> tuple[Tensor, Tensor]:
        noisy, clean = mixer.batch(step, plan.batch)
        return torch.from_numpy(noisy), torch.from_numpy(clean)

    with ThreadPoolExecutor(max_workers=1) as pool:
        pending = pool.submit(draw, start) if start < plan.steps else None
        for step in range(start, plan.steps):
            assert pending is not None
            batch = pending.result()
            pending = pool.submit(draw, step + 1) if step + 1 < plan.steps else None
            yield batch


def _smooth(mean: float, value: float, step: int) -> float:
    """Exponential mean over about 50 steps, unbiased at the beginning."""
    share = max(1.0 / 50.0, 1.0 / (step + 1))
    return (1.0 - share) * mean + share * value


def _save(
    path: Path,
    run_id: str,
    modules: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: float,
    ratio: float,
    step: int,
) -> None:
    """One file, renamed into place: a kill leaves the state before or the state after."""
    tensors = {f"modules.{name}": value for name, value in modules.state_dict().items()}
    for name, parameter in modules.named_parameters():
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{name}:{key}"] = value
    record = json.dumps({"run": run_id, "step": step, "loss": loss, "si_sdr": ratio})
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(contiguous, metadata={"sordino": record}))


def _restore(
    path: Path, run_id: str, modules: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[float, float, int]:
    """Load the state into modules and optimiser; returns smoothed loss, SI-SDR and the step."""
    if not path.is_file():
        return 0.0, 0.0, 0
    device = next(modules.parameters()).device
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            record = json.loads(file.metadata()["sordino"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The training state {path} is damaged.", hint="Delete its folder to start over."
        ) from error
    if record["run"] != run_id:
        raise InputError(
            f"{path.parent} holds another run (its recipe or data differs).",
            hint="Choose another output folder with -o, or delete this one.",
        )
    prefix = "modules."
    modules.load_state_dict(
        {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
    )
    for name, parameter in modules.named_parameters():
        start = f"optimiser.{name}:"
        optimiser.state[parameter] = {
            key[len(start) :]: (value.cpu() if key.endswith(":step") else value)
            for key, value in tensors.items()
            if key.startswith(start)
        }
    return record["loss"], record["si_sdr"], record["step"]


def enhance(network: UNet, contract: StftContract, noisy: np.ndarray) -> np.ndarray:
    """Denoise one signal ``[samples]`` with a torch network over the whole sequence."""
    device = next(network.parameters()).device
    with torch.no_grad():
        spectra = stft.analyse(contract, torch.from_numpy(noisy)[None].to(device))
        mask = network(stft.features(contract, spectra)).mask
        signal = stft.synthesise(contract, stft.apply_mask(contract, spectra, mask), len(noisy))
    result: np.ndarray = signal[0].cpu().numpy()
    return result
