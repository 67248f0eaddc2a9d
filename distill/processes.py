"""Where training runs: one processor or GPU, or the processes that ``torchrun`` started.

Lightning Fabric places modules, wraps them for several processes and sets the precision; the
loop itself stays ours. The larger Trainer would own the loop as well, and with it what we need
to decide: the order of the data, the state file without pickles, two-step schedules.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from targets.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["float32", "bf16"]


def launch(device: str = "cpu", precision: Precision = "float32") -> Fabric:
    """A launched Fabric on ``cpu`` or ``cuda``. Raises InputError where Fabric is missing."""
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise InputError(
            "Training needs lightning-fabric.", hint="pip install 'sordino[distill]'"
        ) from error
    world, local = world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # Buffers need no broadcast: batch statistics are computed over all processes (distill.layers).
    # Unused parameters: a two-step schedule leaves out the decoder first, the projections later.
    several = DDPStrategy(broadcast_buffers=False, find_unused_parameters=True)
    fabric = Fabric(
        accelerator=device,
        devices=local if world > 1 else 1,
        num_nodes=world // local if world > 1 else 1,
        strategy=several if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    fabric.launch()
    return fabric


def world_size() -> int:
    """Processes that train together: 1 unless ``torchrun`` started this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return world_size() == 1 or os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Return once every process has come here."""
    import torch.distributed

    if world_size() > 1 and torch.distributed.is_initialized():
        torch.distributed.barrier()


def from_all(values: list[float]) -> list[float]:
    """What every process gives, in the order of their ranks: the same list in each of them."""
    import torch.distributed

    if world_size() == 1 or not torch.distributed.is_initialized():
        return values
    gathered: list[list[float]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, values)
    return [value for own in gathered for value in own]
