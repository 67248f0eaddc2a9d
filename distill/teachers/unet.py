"""Our own U-Net of any size and contract as a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.checkpoint import load_checkpoint
from distill.taps import align_frames, capture, tap_paths
from distill.teachers.adapter import Adapter
from distill.teachers.keys import digest
from distill.teachers.sources import Signature
from distill.teachers.trial import denoise, trial_shapes
from distill.views import TapShape, View
from runtime.stft import StftContract


class UNetTeacher:
    """A checkpoint of this project. Look-ahead is compensated: its taps describe the frame they
    stand at."""

    def __init__(self, path: Path, contract: StftContract, device: str) -> None:
        checkpoint = load_checkpoint(path)
        record = checkpoint.record
        self._contract, self._own = contract, record.contract
        self._device = torch.device(device)
        self._network = checkpoint.network.requires_grad_(False).to(self._device)
        self._adapter = Adapter(
            contract, Signature(input="features", output="mask", contract=record.contract)
        )
        self.name = record.preset
        self.parameters: int | None = sum(p.numel() for p in self._network.parameters())
        self.key = digest(
            {
                "kind": "unet",
                "weights": checkpoint.sha256,
                "architecture": record.architecture.model_dump(mode="json"),
                "contract": record.contract.model_dump(mode="json"),
            }
        )

    def tap_paths(self) -> list[str]:
        return tap_paths(self._network)

    def tap_shapes(self, paths: Sequence[str]) -> Mapping[str, TapShape]:
        return trial_shapes(self, self._contract, paths)

    @torch.no_grad()
    def view(self, noisy: Tensor, paths: Sequence[str]) -> View:
        with torch.autocast(self._device.type, enabled=False):
            prepared = self._adapter.prepare(noisy, self._device)
            with capture(self._network, paths) as found:
                mask = self._network(prepared.tensor).mask
            taps = align_frames(found, mask.shape[2])
            view = self._adapter.view(prepared, mask, taps)
        return view

    def denoise(self, noisy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return denoise(self, self._contract, noisy)
