"""Tensors of foreign networks to and from the axes used here; letters as in ``sources``."""

from __future__ import annotations

import torch
from torch import Tensor

from targets.errors import InputError

_OURS = {"waveform": "bs", "spectra": "btf", "features": "bctf"}


def arrange(value: Tensor, kind: str, axes: str) -> Tensor:
    """What a network gets: ``value`` in the order of ``axes``.

    ``value`` is ``[b, s]`` for a waveform, complex ``[b, t, f]`` for spectra, ``[b, c, t, f]`` for
    features. With ``c``, spectra become their real and imaginary parts, a waveform one channel.
    """
    ours = _OURS[kind]
    if "c" in axes and kind == "spectra":
        value, ours = torch.view_as_real(value.resolve_conj()), ours + "c"
    elif "c" in axes and kind == "waveform":
        value, ours = value.unsqueeze(1), "bcs"
    return value.permute([ours.index(axis) for axis in axes]).contiguous()


def read_waveform(output: Tensor, axes: str) -> Tensor:
    """``[b, s]`` of what a network gave; raises InputError for other axes or several channels."""
    value = _permuted(output, axes, "bcs" if "c" in axes else "bs")
    if "c" not in axes:
        return value
    if value.shape[1] != 1:
        raise InputError(
            f"The teacher's output has {value.shape[1]} channels, one is expected.",
            hint="Check `output_layout`; of several outputs, name the one with the speech.",
        )
    return value[:, 0]


def read_spectra(output: Tensor, axes: str) -> Tensor:
    """Complex ``[b, t, f]`` of what a network gave."""
    if "c" in axes:
        return _complex(_permuted(output, axes, "btfc"))
    if not output.is_complex():
        raise InputError(
            "The teacher's spectra are real numbers.",
            hint="Say where real and imaginary parts lie: `output_layout: btfc` or `bctf`.",
        )
    return _permuted(output, axes, "btf")


def read_mask(output: Tensor, axes: str) -> Tensor:
    """Real and imaginary part ``[b, 2, t, f]`` of a mask: complex, of two channels, or real."""
    if "c" in axes:
        value = _permuted(output, axes, "btfc")
        if value.shape[-1] == 1:
            value = torch.cat((value, torch.zeros_like(value)), dim=-1)
        gain = _complex(value)
    else:
        value = _permuted(output, axes, "btf")
        gain = value if value.is_complex() else torch.complex(value, torch.zeros_like(value))
    return torch.stack((gain.real, gain.imag), dim=1)


def _permuted(output: Tensor, axes: str, wanted: str) -> Tensor:
    if output.dim() != len(axes):
        raise InputError(
            f"The teacher's output has {output.dim()} axes {tuple(output.shape)}, "
            f"its layout {axes!r} names {len(axes)}.",
            hint="State its axes with `output_layout`.",
        )
    value = output.permute([axes.index(axis) for axis in wanted])
    return value.to(torch.complex64 if value.is_complex() else torch.float32)


def _complex(parts: Tensor) -> Tensor:
    if parts.shape[-1] != 2:
        raise InputError(
            f"The teacher's output has {parts.shape[-1]} channels; real and imaginary part are 2.",
            hint="Check the place of `c` in `output_layout`.",
        )
    return torch.view_as_complex(parts.contiguous())
