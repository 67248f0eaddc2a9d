"""The files of an audio path, beside those of its model."""

from __future__ import annotations

from dataclasses import dataclass

from export.c.audio.source import AudioPath
from export.c.audio.tables import SMALLEST_FFT, has_fft
from export.c.kernel_files import audio_header
from export.c.naming import Names, Port
from runtime.contract import StftContract
from runtime.stft import FEATURE_CHANNELS
from targets.errors import InputError


@dataclass(frozen=True)
class GeneratedAudio:
    """The texts by file name, and what they need beside the model."""

    files: dict[str, str]
    ram_bytes: int  # of the struct NAME_audio_t without the model's
    constant_bytes: int


def audio_path(names: Names, contract: StftContract) -> GeneratedAudio:
    """``NAME_audio.c``, ``NAME_audio.h`` and ``sordino_audio.h``.

    Raises InputError for a contract whose FFT is no power of two, or a model that does not turn
    features ``[1, 1, bins, 3]`` into a mask ``[1, 1, bins, 1 or 2]``.
    """
    if not has_fft(contract):
        raise InputError(
            f"The audio path has no FFT of {contract.fft_size} samples.",
            hint=f"It takes powers of two of {SMALLEST_FFT} and more.",
        )
    frame = (1, 1, contract.bins)
    features, mask = _only(names.inputs, "input"), _only(names.outputs, "output")
    if features.tensor.shape != (*frame, FEATURE_CHANNELS):
        raise _other(f"its input is not {[*frame, FEATURE_CHANNELS]}")
    if mask.tensor.shape not in ((*frame, 1), (*frame, 2)):
        raise _other(f"its output is no mask {[*frame, 1]} or {[*frame, 2]}")
    path = AudioPath(names.name, features, mask, contract)
    return GeneratedAudio(
        {
            f"{names.name}_audio.c": path.source(),
            f"{names.name}_audio.h": path.header(),
            "sordino_audio.h": audio_header(),
        },
        path.state_bytes,
        path.constant_bytes,
    )


def _only(ports: tuple[Port, ...], kind: str) -> Port:
    if len(ports) != 1:
        raise _other(f"it has {len(ports)} {kind}s beside its states")
    return ports[0]


def _other(reason: str) -> InputError:
    return InputError(
        f"The model is no denoiser of this contract: {reason}.",
        hint="Leave the contract out to have the step alone.",
    )
