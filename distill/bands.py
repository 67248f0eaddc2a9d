"""Bands of hearing: a fixed linear layer that folds the bins of a spectrum into fewer bands.

Bands are triangles over the bins, each from the centre before its own to the one after it; the
centres of the upper ones are equally spaced on the ERB-number or the mel scale. Where a scale asks
for bands narrower than a bin, at low frequencies, every bin is a band of its own.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from runtime.stft import StftContract
from targets.errors import InputError

Matrix = npt.NDArray[np.float64]


class Bands(BaseModel):
    """``count`` bands on a scale of hearing.

    Below ``linear_below_hz`` every bin is a band; left out, that is as low as the resolution
    allows. ``bin_hz`` is the contract's sample rate over its FFT size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["erb", "mel"] = "erb"
    count: int = Field(64, ge=2)
    linear_below_hz: float | None = Field(None, ge=0.0)
    bin_hz: float = Field(31.25, gt=0.0)


def centres(bands: Bands, bins: int) -> Matrix:
    """Centres of the bands in bins ``[count]``, from bin 0 to the last, at least one bin apart.

    Raises ValueError when there are more bands than bins above ``linear_below_hz`` allow.
    """
    if bands.count > bins:
        raise ValueError(f"{bands.count} bands cannot have a bin each: there are {bins}")
    if bands.linear_below_hz is not None:
        linear = min(int(np.ceil(bands.linear_below_hz / bands.bin_hz)), bins)
        if linear > bands.count or (linear == bands.count and linear < bins):
            raise ValueError(
                f"{linear} bins lie below linear_below_hz: {bands.count} bands are too few"
            )
        return _checked(bands, _spread(bands, bins, linear))
    # One bin is always a band of its own: the first centre is bin 0.
    candidates = (_spread(bands, bins, linear) for linear in range(1, bands.count))
    fitting = (found for found in candidates if _least_distance(found) >= 1.0)
    return next(fitting, np.arange(bands.count, dtype=np.float64))


def _spread(bands: Bands, bins: int, linear: int) -> Matrix:
    """``linear`` bands of one bin, then the others up to the last bin, equally spaced on the
    scale."""
    below = np.arange(max(linear, 1), dtype=np.float64)
    above = bands.count - len(below)
    first, last = below[-1] * bands.bin_hz, (bins - 1) * bands.bin_hz
    steps = np.linspace(_to_scale(bands, first), _to_scale(bands, last), above + 1)[1:]
    return np.concatenate((below, _from_scale(bands, steps) / bands.bin_hz))


def _checked(bands: Bands, found: Matrix) -> Matrix:
    if _least_distance(found) < 1.0:
        raise ValueError(
            f"{bands.count} bands are too many: some would have no bin; "
            "leave linear_below_hz out, raise it, or ask for fewer"
        )
    return found


def _least_distance(found: Matrix) -> float:
    """Of two neighbouring centres, rounding errors aside."""
    return float(np.min(np.diff(found))) + 1e-9


def _to_scale(bands: Bands, hertz: float) -> float:
    """ERB number, 21.4 · log10(1 + 0.00437 f) (Glasberg and Moore 1990, equation 4), or mel,
    2595 · log10(1 + f / 700) (O'Shaughnessy 1987, as in HTK)."""
    factor, rate = (21.4, 0.00437) if bands.kind == "erb" else (2595.0, 1.0 / 700.0)
    return float(factor * np.log10(1.0 + rate * hertz))


def _from_scale(bands: Bands, values: Matrix) -> Matrix:
    factor, rate = (21.4, 0.00437) if bands.kind == "erb" else (2595.0, 1.0 / 700.0)
    hertz: Matrix = (10.0 ** (values / factor) - 1.0) / rate
    return hertz


def expansion(bands: Bands, bins: int) -> Matrix:
    """Weights ``[bins, count]`` from bands to bins; each row sums to one, so ones stay ones.

    A bin between two centres takes from both, in proportion to how near they are.
    """
    found = centres(bands, bins)
    position = np.arange(bins, dtype=np.float64)
    identity = np.eye(bands.count)
    return np.stack([np.interp(position, found, row) for row in identity], axis=1)


def compression(bands: Bands, bins: int) -> Matrix:
    """Weights ``[count, bins]`` from bins to bands: the transposed expansion as averages."""
    triangles = expansion(bands, bins).T
    averages: Matrix = triangles / triangles.sum(axis=1, keepdims=True)
    return averages


def check_bands(bands: Bands | None, contract: StftContract) -> None:
    """Raise InputError when ``bands`` were laid out for another spacing of bins."""
    spacing = contract.sample_rate / contract.fft_size
    if bands is not None and abs(bands.bin_hz - spacing) > 1e-6 * spacing:
        raise InputError(
            f"The bands are for bins {bands.bin_hz:g} Hz apart; the contract's are {spacing:g} Hz.",
            hint=f"Set `bin_hz: {spacing:g}` in the network's `bands`.",
        )


class BandLayer(nn.Module):
    """Both matrices as constants; no parameters, and nothing in the state dict."""

    to_bands: Tensor
    to_bins: Tensor

    def __init__(self, bands: Bands, bins: int) -> None:
        super().__init__()
        for name, matrix in (
            ("to_bands", compression(bands, bins)),
            ("to_bins", expansion(bands, bins)),
        ):
            constant = torch.from_numpy(matrix.astype(np.float32))
            self.register_buffer(name, constant, persistent=False)

    def compress(self, features: Tensor) -> Tensor:
        """``[batch, channels, time, bins]`` to ``[batch, channels, time, count]``."""
        return features @ self.to_bands.T

    def expand(self, mask: Tensor) -> Tensor:
        """``[batch, channels, time, count]`` to ``[batch, channels, time, bins]``."""
        return mask @ self.to_bins.T
