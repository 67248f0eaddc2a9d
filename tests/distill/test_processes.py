"""Several processes train as one: the same losses and weights for the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from distill.losses import LossWeights
from distill.objective import Objective
from distill import training
from distill.processes import launch, world_size
from distill.recipe import Training
from distill.training import train
from runtime.metrics import si_sdr as runtime_si_sdr
from runtime.stft import StftContract
from tests.distill.tones import TonesInNoise, fresh_network, held_out_tones

folder = Path(sys.argv[1])
network = fresh_network()
plan = Training(steps=12, batch=4, learning_rate=2e-3, ema=0.5, validate_every=4)
goal = Objective(StftContract(), LossWeights())
fabric = launch("cpu")
assert fabric.world_size == world_size()
# What one process scores must not decide alone: in the second one everything is a little better.
rank = fabric.global_rank
training.si_sdr = lambda *signals: runtime_si_sdr(*signals) + 0.01 * rank
arguments = (network, goal, plan, TonesInNoise(), folder, "run")
events = list(train(*arguments, fabric=fabric, validation=held_out_tones(3)))
tensors = dict(
    network.state_dict(),
    losses=torch.tensor([e.loss for e in events]),
    scores=torch.tensor([e.validation_si_sdr or 0.0 for e in events], dtype=torch.float64),
)
save_file(tensors, folder / f"end{rank}.safetensors")
"""


def _train(folder: Path, repository: Path, processes: int) -> list[dict[str, torch.Tensor]]:
    """What each process had at the end."""
    folder.mkdir()
    program = folder / "program.py"
    program.write_text(PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), str(program), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [load_file(folder / f"end{rank}.safetensors") for rank in range(processes)]


@pytest.mark.slow
def test_two_processes_train_to_the_same_loss_as_one(tmp_path: Path, repository: Path) -> None:
    (one,) = _train(tmp_path / "one", repository, 1)
    two, second = _train(tmp_path / "two", repository, 2)
    assert torch.equal(two["scores"], second["scores"])
    torch.testing.assert_close(two.pop("scores"), one.pop("scores"), rtol=0.0, atol=0.02)
    torch.testing.assert_close(two.pop("losses"), one.pop("losses"), rtol=1e-4, atol=1e-5)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-2, atol=2e-4, msg=name)
