"""Time between two STFT contracts: which frame of one describes the same moment in the other."""

from __future__ import annotations

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from runtime.stft import StftContract


def same_frames(one: StftContract, other: StftContract) -> bool:
    """Whether both cut a signal into the same spectra, but for their scale."""
    beyond = {"scale", "bins", "compression"}
    return one.model_dump(exclude=beyond) == other.model_dump(exclude=beyond)


def centre_offset(contract: StftContract) -> float:
    """Samples from the beginning of a window to the centre of its energy: half of a symmetric one.

    What a frame says is about this moment, wherever a window of another length or shape ends.
    """
    energy = contract.analysis_window().astype(np.float64) ** 2
    return float((np.arange(len(energy)) * energy).sum() / energy.sum())


def frame_centres(contract: StftContract, frames: int) -> Tensor:
    """Moment of each frame in samples (float64 ``[frames]``): frame t ends at (t + 1)·hop."""
    ends = (torch.arange(frames, dtype=torch.float64) + 1.0) * contract.hop
    return ends - contract.window_length + centre_offset(contract)


def tap_positions(
    student: StftContract, frames: int, own: StftContract, samples: int, tap_frames: int
) -> Tensor:
    """Where in a tap each of the student's ``frames`` lies, as fractions of a frame ``[frames]``.

    A tap with as many frames as ``own`` makes of its ``samples`` lies on those; any other is taken
    to divide the signal evenly.
    """
    if tap_frames == own.frames(samples) and same_frames(own, student):
        return torch.arange(frames, dtype=torch.float64)
    moments = frame_centres(student, frames) * (own.sample_rate / student.sample_rate)
    if tap_frames == own.frames(samples):
        positions = (moments + own.window_length - centre_offset(own)) / own.hop - 1.0
    else:
        positions = moments * (tap_frames / samples) - 0.5
    return positions


def at_positions(tap: Tensor, positions: Tensor) -> Tensor:
    """``tap`` ``[b, time, …]`` between its frames, linearly; before and after it, its ends."""
    last = tap.shape[1] - 1
    positions = positions.clamp(0.0, float(last))
    nearest = positions.round()
    # A whole position is met exactly, however it was computed.
    positions = torch.where((positions - nearest).abs() < 1e-6, nearest, positions)
    below = positions.floor().long()
    share = (positions - below).to(tap.device, tap.dtype).view(1, -1, *[1] * (tap.dim() - 2))
    before = tap[:, below.to(tap.device)]
    if not bool((share > 0.0).any()):
        return before
    after = tap[:, (below + 1).clamp(max=last).to(tap.device)]
    return before + share * (after - before)


def resample(signal: Tensor, before: int, after: int) -> Tensor:
    """Signals ``[batch, samples]`` from one sample rate to another, without delay."""
    if before == after:
        return signal
    samples = round(signal.shape[-1] * after / before)
    columns = np.ascontiguousarray(signal.detach().cpu().numpy().T)
    converted = torch.from_numpy(np.ascontiguousarray(soxr.resample(columns, before, after).T))
    return fit(converted, samples).to(signal.device)


def fit(signal: Tensor, samples: int) -> Tensor:
    """The first ``samples`` of ``[batch, …]``, zeros where there are fewer."""
    return functional.pad(signal[:, :samples], (0, max(0, samples - signal.shape[-1])))
