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
from distill.processes import is_first, launch, world_size
from distill.recipe import Training
from distill.training import train
from runtime.stft import StftContract
from tests.distill.tones import TonesInNoise, fresh_network

folder = Path(sys.argv[1])
network = fresh_network()
plan = Training(steps=12, batch=4, learning_rate=2e-3, ema=0.5)
goal = Objective(StftContract(), LossWeights())
fabric = launch("cpu")
assert fabric.world_size == world_size()
events = list(train(network, goal, plan, TonesInNoise(), folder, "run", fabric=fabric))
if is_first():
    tensors = dict(network.state_dict(), losses=torch.tensor([e.loss for e in events]))
    save_file(tensors, folder / "end.safetensors")
"""


def _train(folder: Path, repository: Path, processes: int) -> dict[str, torch.Tensor]:
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
    return load_file(folder / "end.safetensors")


@pytest.mark.slow
def test_two_processes_train_to_the_same_loss_as_one(tmp_path: Path, repository: Path) -> None:
    one = _train(tmp_path / "one", repository, 1)
    two = _train(tmp_path / "two", repository, 2)
    torch.testing.assert_close(two.pop("losses"), one.pop("losses"), rtol=1e-4, atol=1e-5)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-2, atol=2e-4, msg=name)
