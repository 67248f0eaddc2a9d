"""The whole state of a training run in one safetensors file, renamed into place.

A kill at any point leaves the state before or the state after; never a pickle.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from runtime.artefact import write_atomically
from targets.errors import InputError

STATE = "training.safetensors"
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Tally:
    """What a run knows beside tensors: steps done, smoothed loss and SI-SDR (dB), validations.

    ``best_si_sdr`` is the best validation so far and ``since_best`` how many came after it.
    """

    step: int = 0
    loss: float = 0.0
    si_sdr: float = 0.0
    seconds: float = 0.0
    best_si_sdr: float | None = None
    since_best: int = 0


@dataclass(frozen=True)
class State:
    """A tally with the averaged weights and the best ones, where a plan keeps them."""

    tally: Tally = Tally()
    best: Weights = field(default_factory=dict)


def save_state(
    path: Path,
    run_id: str,
    modules: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
    state: State,
) -> None:
    """Write modules, optimiser, averaged and best weights, and the tally."""
    tensors = {f"modules.{name}": value for name, value in modules.state_dict().items()}
    for name, parameter in modules.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}:{key}"] = value
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    # Copied: safetensors refuses tensors that share memory.
    own = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    record = json.dumps({"run": run_id, **asdict(state.tally)})
    write_atomically(path, save(own, metadata={"sordino": record}))


def restore_state(
    path: Path,
    run_id: str,
    modules: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
) -> State:
    """Load what is at ``path`` into the modules; a fresh state where there is nothing.

    Raises InputError for a damaged file and for the state of another run.
    """
    if not path.is_file():
        return State()
    device = next(modules.parameters()).device
    record, tensors = _read(path, str(device))
    if record.pop("run", None) != run_id:
        raise InputError(
            f"{path.parent} holds another run (its recipe or data differs).",
            hint="Choose another output folder with -o, or delete this one.",
        )
    try:
        modules.load_state_dict(_below(tensors, "modules."))
        if average is not None:
            average.load_state_dict(_below(tensors, "average."))
        tally = replace(Tally(), **record)
    except (RuntimeError, TypeError) as error:
        raise _damaged(path) from error
    for name, parameter in modules.named_parameters():
        values = _below(tensors, f"optimiser.{name}:")
        if values:
            optimiser.state[parameter] = {
                key: value.cpu() if key == "step" else value for key, value in values.items()
            }
    return State(tally, _below(tensors, "best."))


def _read(path: Path, device: str) -> tuple[dict[str, Any], Weights]:
    try:
        with safe_open(path, framework="pt", device=device) as file:
            record = json.loads(file.metadata()["sordino"])
            return record, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError(
        f"The training state {path} is damaged.", hint="Delete its folder to start over."
    )


def _below(tensors: Weights, prefix: str) -> Weights:
    return {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
