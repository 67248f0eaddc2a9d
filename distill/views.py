"""What a distillation method sees of a batch: the mixture, and what each network made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Spectra of the mixtures and of their targets, complex ``[batch, time, frequencies]``.

    ``active`` ``[batch, time]`` is 1 in frames that are not silent, else 0. ``scale``
    ``[batch, 1, 1]`` is one over the RMS of the noisy signals: spectra times ``scale`` weigh loud
    and soft recordings the same. ``compression`` is the exponent of the contract.
    """

    noisy: Tensor
    clean: Tensor
    active: Tensor
    scale: Tensor
    compression: float


@dataclass(frozen=True)
class View:
    """One network's view of a batch: its estimate and the activations that were asked for.

    ``estimate`` is complex ``[batch, time, frequencies]``. ``taps`` maps a module path to its
    activation ``[batch, time, frequency, channels]``; a vector per frame has one frequency.
    """

    estimate: Tensor
    taps: Mapping[str, Tensor] = field(default_factory=dict)


class TapShape(NamedTuple):
    """What does not change with batch and time: bins and channels of an activation."""

    frequency: int
    channels: int
