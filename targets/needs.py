"""What an artefact asks of the device that runs it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Needs(BaseModel):
    """One artefact's needs. None stands for what was neither counted nor measured.

    Of generated C, ``constant_bytes`` and ``static_ram_bytes`` are exact, ``code_bytes``,
    ``stack_bytes`` and ``instructions`` come from its simulation on the device's core, which also
    tells the constants as they were linked. Of other
    formats ``constant_bytes`` is the model file and ``arena_bytes`` TFLM's arena without margin;
    ``process_bytes`` is what a process takes at most to load and run it, beside its libraries.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    operators: tuple[str, ...] = ()  # kinds, each once
    parameters: int = Field(ge=0)
    macs_per_step: int | None = Field(None, ge=0)
    hop_samples: int = Field(gt=0)
    sample_rate: int = Field(gt=0)  # Hz
    algorithmic_delay: int = Field(ge=0)  # samples: window and look-ahead, a hop included
    constant_bytes: int | None = Field(None, ge=0)
    code_bytes: int | None = None
    static_ram_bytes: int | None = None
    arena_bytes: int | None = None
    process_bytes: int | None = None
    process_basis: Literal["measured-device", "measured-host"] = "measured-host"
    stack_bytes: int | None = None
    stack_basis: Literal["simulated", "measured-device"] = "simulated"
    io_bytes: int = 0  # features, mask and, of C, what the caller holds beside the model's own RAM
    audio_ram_bytes: int = 0  # of the audio path in C around the network, where it has one
    audio_constant_bytes: int = 0
    audio_instructions: int | None = None  # of a hop, beside the step's
    instructions: int | None = None  # of one step, the greatest of all frames
    p99_us: float | None = None  # of one step, measured on this very device
    npu_us: tuple[float, float] | None = None  # of one step, modelled for the device's NPU
    npu_macs_share: float | None = None  # of that step's work, 1 where all of it runs there

    @property
    def hop_us(self) -> float:
        """A hop in microseconds."""
        return 1e6 * self.hop_samples / self.sample_rate

    @property
    def working_bytes(self) -> int | None:
        """States and intermediate results: of C, or else of a process, or else TFLM's arena."""
        known = (self.static_ram_bytes, self.process_bytes, self.arena_bytes)
        return next((size for size in known if size is not None), None)
