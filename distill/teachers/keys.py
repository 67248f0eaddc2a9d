"""Content keys: SHA-256 of what decides a teacher's output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor


def digest(record: Mapping[str, object]) -> str:
    """SHA-256 of a record of JSON values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes of every tensor of a network."""
    whole = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        whole.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        # As bytes, because numpy lacks some of torch's types (bfloat16).
        whole.update(value.flatten().view(torch.uint8).numpy().data if value.numel() else b"")
    return whole.hexdigest()
