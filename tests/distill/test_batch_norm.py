"""Batch norm over several processes: the same as one process that holds the whole batch."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from distill.batch_norm import SharedBatchNorm

ITEMS, CHANNELS, PROCESSES = 6, 3, 2


def _batch() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    # Far from zero, where a mean of squares less a squared mean loses its digits.
    return 100.0 + torch.randn((ITEMS, CHANNELS, 5, 4), generator=generator)


def _trained(batch: Tensor) -> dict[str, Tensor]:
    """Output, running statistics and gradients of one training step on ``batch``."""
    norm = SharedBatchNorm(CHANNELS)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    entry = batch.clone().requires_grad_()
    output = norm(entry)
    output.sin().mean().backward()
    assert entry.grad is not None
    assert norm.weight.grad is not None
    return {
        "output": output.detach(),
        "entry": entry.grad,
        "weight": norm.weight.grad,
        **dict(norm.named_buffers()),
    }


def _process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=PROCESSES
    )
    part = ITEMS // PROCESSES
    torch.save(_trained(_batch()[rank * part : (rank + 1) * part]), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_half_the_batch_are_one_with_all_of_it(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_process, args=(port, str(tmp_path)), nprocs=PROCESSES)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    whole = _trained(_batch())
    outputs = torch.cat([half["output"] for half in halves])
    torch.testing.assert_close(outputs, whole["output"], atol=1e-4, rtol=1e-5)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        for half in halves:
            torch.testing.assert_close(half[name], whole[name])
    # Each loss is a mean over half of the items, and gradients are averaged over processes.
    entries = torch.cat([half["entry"] for half in halves]) / PROCESSES
    torch.testing.assert_close(entries, whole["entry"], atol=1e-6, rtol=1e-3)
    weights = sum(half["weight"] for half in halves) / PROCESSES
    torch.testing.assert_close(weights, whole["weight"], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_alone_it_is_batch_norm(training: bool) -> None:
    shared, plain = SharedBatchNorm(CHANNELS), nn.BatchNorm2d(CHANNELS)
    assert list(shared.state_dict()) == list(plain.state_dict())
    shared.train(training)
    plain.train(training)
    assert torch.equal(shared(_batch()), plain(_batch()))
    for one, other in zip(shared.buffers(), plain.buffers(), strict=True):
        assert torch.equal(one, other)
