"""Between the student's signals and a network that takes and gives something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from distill import stft
from distill.teachers.alignment import (
    at_positions,
    fit,
    resample,
    same_frames,
    tap_positions,
)
from distill.teachers.layouts import arrange, read_mask, read_spectra, read_waveform
from distill.teachers.sources import Signature
from distill.views import View
from runtime.stft import StftContract
from targets.errors import InputError


@dataclass(frozen=True)
class Prepared:
    """What a network is fed with: ``tensor`` in its own layout.

    ``spectra`` are those of the padded signal in its own contract; ``samples`` is the signal's
    length at its own rate without the padding, ``padded`` with it; ``heard`` that of what the
    student hears, whose tensors lie on ``device``.
    """

    tensor: Tensor
    spectra: Tensor | None
    samples: int
    padded: int
    heard: int
    device: torch.device


class Adapter:
    """Feeds a network of any ``signature`` and reads it on the frames of the student's contract.

    A network that trails its input is fed zeros after the end, and as much is cut from the
    beginning of what it gives. Where its STFT is another, its estimate passes through a waveform.
    """

    def __init__(self, student: StftContract, signature: Signature) -> None:
        self._student, self._signature = student, signature
        self._own = signature.contract or student
        hop = self._own.hop
        self._delay = signature.delay * (1 if signature.output == "waveform" else hop)  # samples
        self._padding = max(self._delay, (signature.tap_delay or 0) * hop)

    def prepare(self, noisy: Tensor, device: torch.device) -> Prepared:
        """The network's input on ``device`` for signals ``[batch, samples]`` on any."""
        kind, own = self._signature.input, self._own
        signal = resample(noisy, self._student.sample_rate, own.sample_rate).to(device)
        padded = functional.pad(signal, (0, self._padding))
        spectra = None
        if (kind, self._signature.output) != ("waveform", "waveform"):
            spectra = stft.analyse(own, padded)
        value = padded
        if kind == "features":
            assert spectra is not None
            value = stft.features(own, spectra)
        elif kind == "spectra":
            assert spectra is not None
            value = spectra[..., : own.bins]
        return Prepared(
            tensor=arrange(value, kind, self._signature.input_axes),
            spectra=spectra,
            samples=signal.shape[-1],
            padded=padded.shape[-1],
            heard=noisy.shape[-1],
            device=noisy.device,
        )

    def view(self, prepared: Prepared, output: Tensor, taps: Mapping[str, Tensor]) -> View:
        """``output`` and ``taps`` ``[batch, time, frequency, channels]`` of the network, aligned.

        Raises InputError for an output that is not finite or not of the size of its input.
        """
        estimate = self._estimate(prepared, output)
        aligned = {name: self._aligned(prepared, tap) for name, tap in taps.items()}
        for name, value in (("output", estimate), *aligned.items()):
            if not bool(
                torch.isfinite(torch.view_as_real(value) if value.is_complex() else value).all()
            ):
                raise InputError(
                    f"The teacher's {name} holds values that are not finite (NaN or infinite).",
                    hint="Check its weights and the scale of its input (`contract: {scale: …}`).",
                )
        return View(estimate, aligned)

    def _estimate(self, prepared: Prepared, output: Tensor) -> Tensor:
        """Spectra in the student's contract."""
        axes, own = self._signature.output_axes, self._own
        if self._signature.output == "waveform":
            signal = read_waveform(output, axes)
            self._require("samples", signal.shape[-1], prepared.padded)
            signal = signal[:, self._delay :]
        else:
            spectra = self._spectra(prepared, output, axes)[:, self._signature.delay :]
            if same_frames(own, self._student):
                frames = own.frames(prepared.samples)
                return (spectra[:, :frames] * (self._student.scale / own.scale)).to(prepared.device)
            signal = stft.synthesise(own, spectra, prepared.samples)
        signal = resample(signal[:, : prepared.samples], own.sample_rate, self._student.sample_rate)
        return stft.analyse(self._student, fit(signal, prepared.heard).to(prepared.device))

    def _spectra(self, prepared: Prepared, output: Tensor, axes: str) -> Tensor:
        """All that the network gave, as spectra ``[batch, time, frequencies]`` of its contract."""
        own = self._own
        frames = own.frames(prepared.padded)
        if self._signature.output == "spectra":
            spectra = read_spectra(output, axes)
            self._require("frames", spectra.shape[1], frames)
            self._require("bins", spectra.shape[2], own.bins)
            return functional.pad(spectra, (0, own.frequencies - own.bins))
        mask = read_mask(output, axes)
        self._require("frames", mask.shape[2], frames)
        self._require("bins", mask.shape[3], own.bins)
        assert prepared.spectra is not None
        delay = self._signature.delay
        # A mask that trails belongs to the frame so many before it.
        noisy = functional.pad(prepared.spectra, (0, 0, delay, 0))[:, :frames].to(mask.device)
        return stft.apply_mask(own, noisy, mask)

    def _aligned(self, prepared: Prepared, tap: Tensor) -> Tensor:
        frames = self._student.frames(prepared.heard)
        positions = tap_positions(self._student, frames, self._own, prepared.padded, tap.shape[1])
        signature = self._signature
        if signature.tap_delay is not None:
            delay = float(signature.tap_delay)
        elif signature.output == "waveform":
            delay = self._delay * tap.shape[1] / prepared.padded
        else:
            delay = float(signature.delay)
        return at_positions(tap.float(), positions.clamp(min=0.0) + delay).to(prepared.device)

    @staticmethod
    def _require(what: str, found: int, expected: int) -> None:
        if found != expected:
            raise InputError(
                f"The teacher's output has {found} {what}, {expected} were expected.",
                hint="Check `output`, `output_layout` and `contract` of the teacher in the recipe.",
            )
