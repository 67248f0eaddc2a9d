"""Where a teacher comes from: the sections ``teacher.module`` and ``teacher.onnx`` of a recipe.

Layouts name the axes of a tensor by letters: ``b`` batch, ``t`` time frames, ``f`` frequency bins,
``c`` channels (real and imaginary part of a spectrum or mask; the three features), ``s`` samples.
A spectrum or mask without ``c`` is a complex tensor, or a real mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from runtime.stft import ContractField

# What a recipe may name as a teacher that exists; one of them at most.
KINDS: tuple[str, ...] = ("checkpoint", "model", "module", "onnx")

InputKind = Literal["waveform", "spectra", "features"]
OutputKind = Literal["waveform", "spectra", "mask"]

LAYOUTS: dict[str, str] = {  # the axes each kind needs; the first is its default order
    "waveform": "bs",
    "spectra": "btf",
    "features": "bctf",
    "mask": "bctf",
}
_OPTIONAL: dict[str, str] = {"waveform": "c", "spectra": "c", "features": "", "mask": "c"}

Name = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Signature(_Section):
    """What a foreign denoiser takes and gives, and by how much its output trails its input.

    ``contract`` is the network's own STFT (default: the student's). ``delay`` counts samples of a
    waveform output, else frames; ``tap_delay`` frames of the taps (default: the output's delay).
    """

    input: InputKind
    output: OutputKind
    input_layout: str = ""  # "" is the default of the kind
    output_layout: str = ""
    contract: ContractField | None = None
    delay: NonNegativeInt = 0
    tap_delay: NonNegativeInt | None = None

    @model_validator(mode="after")
    def _layouts_fit(self) -> Signature:
        _check_layout("input_layout", self.input, self.input_layout)
        _check_layout("output_layout", self.output, self.output_layout)
        return self

    @property
    def input_axes(self) -> str:
        return self.input_layout or LAYOUTS[self.input]

    @property
    def output_axes(self) -> str:
        return self.output_layout or LAYOUTS[self.output]


def _check_layout(field: str, kind: str, layout: str) -> None:
    optional = _OPTIONAL[kind]
    needed = set(LAYOUTS[kind]) - set(optional)
    letters = set(layout)
    if layout and (
        len(letters) != len(layout) or not needed <= letters or not letters <= needed | {*optional}
    ):
        example = {"waveform": "bs or bcs", "spectra": "btf or bftc", "features": "bctf or btfc"}
        raise _refused(
            f"{field} {layout!r} does not order the axes of {kind} "
            f"(such as {example.get(kind, 'bctf or btf')})"
        )


def _refused(problem: str) -> PydanticCustomError:
    # Of a ValueError pydantic would write "Value error" in front of the sentence.
    return PydanticCustomError("teacher", "{problem}", {"problem": problem})


class ModuleSource(Signature):
    """Any torch module: ``factory`` (``package.module:function``) builds it, ``weights`` fill it.

    The factory runs the user's own code, on purpose; weights are safetensors, never a pickle.
    """

    factory: str
    arguments: dict[str, JsonValue] = {}
    weights: Path | None = None

    @field_validator("factory")
    @classmethod
    def _names_a_function(cls, factory: str) -> str:
        package, _, function = factory.partition(":")
        parts = [*package.split("."), *function.split(".")]
        if not all(part.isidentifier() for part in parts):
            raise _refused(f"{factory!r} names no function; write package.module:function")
        return factory


class OnnxSignature(Signature):
    """What the tensors of an ONNX file are. ``states`` maps inputs to the outputs fed back to them;
    a model with states runs one frame (or one block of samples) at a time."""

    input_name: Name | None = None  # default: the only input that is neither state nor constant
    output_name: Name | None = None  # default: the first output that is no state
    states: dict[str, str] = {}
    constants: dict[str, float | list[float]] = {}


class OnnxSource(_Section):
    """Any ONNX denoiser. An artefact of sordino is described by its sidecar, without a
    ``signature``."""

    model: Path
    signature: OnnxSignature | None = None
