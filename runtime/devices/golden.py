"""Golden frames of a C artefact: what a device is fed, and the masks it has to answer."""

from __future__ import annotations

import numpy as np

from runtime.artefact import Artefact
from runtime.devices.simulation import GoldenVectors
from runtime.engines import open_engine
from runtime.engines.native_audio import open_audio
from runtime.pack_vectors import record_vectors
from runtime.probe_signal import probe_signal
from runtime.stft import FloatArray
from targets.errors import InputError


def golden_vectors(artefact: Artefact, frames: int) -> GoldenVectors:
    """``frames`` frames of noise that swells and fades, and the masks of this C on this machine.

    `verify` has compared that C with the model's other forms. Raises InputError for an artefact
    that is not C, EngineMissing without a compiler for this machine.
    """
    if artefact.path.suffix.lower() != ".c":
        raise InputError(
            f"{artefact.path.name} is not C: a microcontroller's bench runs no interpreter.",
            hint="Export the model as c-int8 as well.",
        )
    signal = np.concatenate(_hops(artefact, frames))
    recorded = record_vectors(artefact.sidecar, open_engine(artefact, "native"), signal)
    return GoldenVectors(
        recorded.features.reshape(len(recorded.features), -1),
        recorded.mask.reshape(len(recorded.mask), -1),
    )


def golden_audio(artefact: Artefact, frames: int) -> GoldenVectors:
    """The same sound hop by hop, ``[frames, hop]``, and what the audio path of this C makes of it
    on this machine. Raises InputError for an artefact without an audio path."""
    audio = open_audio(artefact)
    hops = _hops(artefact, frames)
    return GoldenVectors(np.stack(hops), np.stack([audio.push(hop) for hop in hops]))


def _hops(artefact: Artefact, frames: int) -> list[FloatArray]:
    contract = artefact.sidecar.contract
    seconds = (frames + 1) * contract.hop / contract.sample_rate
    return probe_signal(contract, seconds)[:frames]
