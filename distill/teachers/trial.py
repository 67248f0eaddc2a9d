"""What every teacher answers from its view: the shapes of its taps, and a denoised signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from distill import stft
from distill.taps import shapes_of
from distill.teachers import Teacher
from distill.views import TapShape
from runtime.stft import StftContract

_SECONDS = 0.5
_LEVEL = 0.05


def trial_shapes(
    teacher: Teacher, contract: StftContract, paths: Sequence[str]
) -> Mapping[str, TapShape]:
    """Shapes of the taps in a run over half a second of soft noise (silence divides by zero in
    some networks). Raises InputError for a tap that does not exist or never runs."""
    generator = torch.Generator().manual_seed(0)
    samples = round(_SECONDS * contract.sample_rate)
    noise = _LEVEL * torch.randn(1, samples, generator=generator)
    return shapes_of(teacher.view(noise, paths).taps, paths)


def denoise(
    teacher: Teacher, contract: StftContract, noisy: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """One signal ``[samples]`` through the teacher's estimate: the contract reconstructs it."""
    signal = torch.from_numpy(np.ascontiguousarray(noisy, dtype=np.float32))[None]
    estimate = teacher.view(signal, ()).estimate
    result: npt.NDArray[np.float32] = stft.synthesise(contract, estimate, len(noisy))[0].numpy()
    return result
