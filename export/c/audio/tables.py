"""The constants of an audio path: windows, twiddles and the order in which samples are read.

Scales are folded into the windows: what the FFT of ``kernels/fft.h`` returns is twice, and what it
makes of bins ``fft_size`` times, as large as a transform by its formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.contract import StftContract

SMALLEST_FFT = 8

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """One pass over the points after the first: how many transforms of ``span`` points become
    one."""

    radix: int  # 4 or 2
    span: int


def has_fft(contract: StftContract) -> bool:
    """Whether the FFT of the audio path takes the contract: a power of two of 8 and more."""
    size = contract.fft_size
    return size >= SMALLEST_FFT and size & (size - 1) == 0


def stages(points: int) -> list[Stage]:
    """The passes of a complex FFT of ``points``, the first one (radix 4, span 1) left out."""
    found, span = [], 4
    while span < points:
        radix = 4 if points % (4 * span) == 0 else 2
        found.append(Stage(radix, span))
        span *= radix
    return found


def order(points: int) -> npt.NDArray[np.int64]:
    """``[points / 4]``: the first of each four points that the first pass takes together."""
    return np.array(list(_read(np.arange(points), [stage.radix for stage in stages(points)])))


def _read(points: npt.NDArray[np.int64], radices: list[int]) -> Iterator[int]:
    if not radices:
        yield int(points[0])
        return
    *inner, last = radices
    for start in range(last):
        yield from _read(points[start::last], inner)


def twiddles(stage: Stage) -> npt.NDArray[np.float32]:
    """Real parts of w^k (radix 4: then of w^2k and w^3k), k < span, then the imaginary parts."""
    k = np.arange(stage.span)
    angles = [
        2.0 * np.pi * power * k / (stage.radix * stage.span) for power in range(1, stage.radix)
    ]
    return _single(np.concatenate([*map(np.cos, angles), *(-np.sin(one) for one in angles)]))


def turns(points: int) -> npt.NDArray[np.float32]:
    """sin, then cos, of 2πk/(2·points) for k < points / 2."""
    angles = np.pi * np.arange(points // 2) / points
    return _single(np.concatenate((np.sin(angles), np.cos(angles))))


def analysis(contract: StftContract) -> npt.NDArray[np.float32]:
    """``[fft_size]``: the window with zeros behind it, times half the contract's scale."""
    padded = np.zeros(contract.fft_size)
    padded[: contract.window_length] = contract.analysis_window()
    return _single(padded * (0.5 * contract.scale))


def synthesis(contract: StftContract) -> npt.NDArray[np.float32]:
    """``[synthesis_length]``: the window divided by the FFT's length and the contract's scale."""
    window = contract.synthesis_window().astype(np.float64)
    return _single(window / (contract.fft_size * contract.scale))


def _single(values: _Array) -> npt.NDArray[np.float32]:
    return values.astype(np.float32)
