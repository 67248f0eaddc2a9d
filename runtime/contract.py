"""The STFT contract: all a person needs to compute the same features and resynthesis elsewhere.

The windows are those of Mauler and Martin, "A low delay, variable resolution, perfect
reconstruction spectral analysis-synthesis system for speech enhancement", EUSIPCO 2007: a long
analysis window with a short falling edge, a short synthesis window at the end of the frame, and
as their product a Hann window. Where both have one length they are square-root Hann windows.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from targets.errors import InputError

Window = Literal["sqrt_hann_periodic", "asymmetric_sqrt_hann"]
Length = Annotated[int, Field(gt=0, le=1 << 16)]  # samples
_Doubles = npt.NDArray[np.float64]


# Of a length that was refused nothing is known; what is derived from it does not matter then.
def _synthesis_length(known: dict[str, Any]) -> int:
    asymmetric = known.get("window") == "asymmetric_sqrt_hann"
    return int(2 * known.get("hop", 1) if asymmetric else known.get("window_length", 1))


def _unit_scale(known: dict[str, Any]) -> float:
    """1/sqrt(sum of window²); the sum is half the length for every window here."""
    return math.sqrt(2.0 / known.get("window_length", 1))


class StftContract(BaseModel):
    """Sample rate, windows, hop, FFT and features. Lengths are in samples.

    Frame ``t`` ends with input sample ``(t + 1)·hop − 1``: it takes the last ``window_length``
    samples, and gives its last ``synthesis_length`` samples to the output. ``bins`` is how many
    of the lowest FFT bins the network sees; those above it are set to zero on output. Frames
    shorter than ``fft_size`` are followed by zeros. ``scale`` multiplies spectra; by default
    white noise keeps its standard deviation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: int = Field(16_000, gt=0)  # Hz
    window: Window = "sqrt_hann_periodic"
    window_length: Length = 512
    hop: Length = 256
    synthesis_length: Length = Field(default_factory=_synthesis_length)
    fft_size: Length = Field(default_factory=lambda known: known.get("window_length", 1))
    scale: float = Field(default_factory=_unit_scale, gt=0, lt=math.inf)
    compression: float = Field(0.3, gt=0, le=1)
    bins: Length = Field(default_factory=lambda known: max(known.get("fft_size", 1) // 2, 1))
    padding: Literal["zeros"] = "zeros"

    @model_validator(mode="after")
    def _reconstructs(self) -> StftContract:
        if problem := self._problem():
            raise PydanticCustomError("contract", "{problem}", {"problem": problem})
        return self

    def _problem(self) -> str:
        """Why nothing can be reconstructed, or not what was analysed; empty when all is well."""
        window, synthesis, hop = self.window_length, self.synthesis_length, self.hop
        if synthesis % hop or synthesis < 2 * hop or synthesis % 2:
            return (
                f"the synthesis window of {synthesis} samples must be even and two or more whole "
                f"hops of {hop}, or the overlapping frames do not add up to the signal"
            )
        if synthesis > window:
            return f"synthesis_length {synthesis} is longer than window_length {window}"
        if synthesis < window and self.window == "sqrt_hann_periodic":
            return (
                f"sqrt_hann_periodic has one window for both sides: synthesis_length {synthesis} "
                f"must equal window_length {window}, or window be asymmetric_sqrt_hann"
            )
        if self.fft_size < window:
            return f"fft_size {self.fft_size} is shorter than window_length {window}"
        if self.bins > self.frequencies:
            return f"bins must lie between 1 and fft_size/2 + 1 = {self.frequencies}"
        return ""

    @property
    def frequencies(self) -> int:
        """Number of one-sided FFT bins."""
        return self.fft_size // 2 + 1

    @property
    def overlap(self) -> int:
        """How many frames add to every output sample."""
        return self.synthesis_length // self.hop

    @property
    def history(self) -> int:
        """Samples before the present hop that a frame remembers."""
        return self.window_length - self.hop

    @property
    def algorithmic_delay(self) -> int:
        """Samples from the moment an input sample begins to that at which its output can begin.

        Output sample ``m`` needs no input after ``m + algorithmic_delay − 1``: the frame that
        completes it ends there at the latest. Buffering of a hop is part of it; computing is not,
        nor is the look-ahead of a network, which comes on top.
        """
        return self.synthesis_length

    @property
    def output_delay(self) -> int:
        """Samples by which hop-wise output trails hop-wise input, to be cut from a file."""
        return self.synthesis_length - self.hop

    @property
    def steps_per_second(self) -> float:
        return self.sample_rate / self.hop

    def milliseconds(self, samples: int) -> float:
        """Duration of ``samples`` at the contract's rate."""
        return 1e3 * samples / self.sample_rate

    def frames(self, samples: int) -> int:
        """Frames of a whole signal ``[samples]``, those that flush the overlap included."""
        return -(-(samples + self.output_delay) // self.hop)

    def analysis_window(self) -> npt.NDArray[np.float32]:
        """``[window_length]``: halves of two periodic square-root Hann windows, the first long,
        the second that of the synthesis window."""
        return self._analysis_window().astype(np.float32)

    def synthesis_window(self) -> npt.NDArray[np.float32]:
        """``[synthesis_length]``, for the last samples of a frame.

        Times the analysis window it is a Hann window, divided by the sum of the overlapping ones.
        """
        length = self.synthesis_length
        hann = _periodic_hann(np.arange(length), length) * (2.0 / self.overlap)
        analysis = self._analysis_window()[-length:]
        # Where the two windows have one length both begin with zero.
        window = np.divide(hann, analysis, out=np.zeros(length), where=analysis > 0.0)
        return window.astype(np.float32)

    def _analysis_window(self) -> _Doubles:
        fall = self.synthesis_length // 2
        rise = self.window_length - fall
        rising = _periodic_hann(np.arange(rise), 2 * rise)
        falling = _periodic_hann(np.arange(fall, 2 * fall), 2 * fall)
        window: _Doubles = np.sqrt(np.concatenate((rising, falling)))
        return window


def _periodic_hann(at: npt.NDArray[np.int_], length: int) -> _Doubles:
    """Samples ``at`` of 0.5 − 0.5·cos(2πn/length)."""
    hann: _Doubles = 0.5 - 0.5 * np.cos(2.0 * math.pi * at / length)
    return hann


DEFAULT_CONTRACT: Final = "phone"
CONTRACTS: Final[Mapping[str, StftContract]] = MappingProxyType(
    {
        "phone": StftContract(),
        "mcu": StftContract(hop=128),
        "hearing-aid": StftContract(window="asymmetric_sqrt_hann", window_length=256, hop=64),
    }
)


def resolve_contract(contract: str | Mapping[str, Any]) -> StftContract:
    """A preset by name, or a contract in full; what is left out of it is as in ``phone``.

    Raises InputError that lists the presets, or says what is wrong with the contract.
    """
    try:
        return StftContract.model_validate(_named(contract))
    except PydanticCustomError as error:
        raise InputError(f"{error.message()}.", hint=f"Presets: {', '.join(CONTRACTS)}.") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(["contract", *map(str, problem["loc"])])
        raise InputError(
            f"{where}: {problem['msg']}.", hint=f"Or name a preset: {', '.join(CONTRACTS)}."
        ) from error


def _named(value: object) -> object:
    """The preset that a string names; anything else as it is."""
    if not isinstance(value, str):
        return value
    if value in CONTRACTS:
        return CONTRACTS[value]
    close = difflib.get_close_matches(value, CONTRACTS, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    raise PydanticCustomError(
        "contract",
        "there is no contract {name}; {meant}presets: {presets}",
        {"name": repr(value), "meant": meant, "presets": ", ".join(CONTRACTS)},
    )


# A field of a recipe: the name of a preset, or a mapping.
ContractField = Annotated[StftContract, BeforeValidator(_named)]
