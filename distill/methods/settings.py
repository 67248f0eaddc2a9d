"""What a recipe says of each method: its weight, its taps and its own options.

The default weights make the gradient of each method about as large as that of the denoising loss,
measured on `tiny` beside a `small` teacher on the demo corpus (ours; see docs/methods.md).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from distill.taps import parse_tap
from targets.errors import InputError


class TapPair(BaseModel):
    """Where student and teacher are compared; in YAML also one string for both sides.

    Each is a module path, optionally with a layout behind a colon (see :mod:`distill.taps`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    student: str
    teacher: str

    @model_validator(mode="before")
    @classmethod
    def _same_on_both_sides(cls, value: Any) -> Any:
        return {"student": value, "teacher": value} if isinstance(value, str) else value

    @field_validator("student", "teacher")
    @classmethod
    def _layout(cls, value: str) -> str:
        try:
            parse_tap(value)
        except InputError as error:
            raise ValueError(f"{error.message} {error.hint}".rstrip(".")) from error
        return value


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def least_items(self) -> int:
        """How many items of a batch the method compares with each other, at the least."""
        return 1


class Tapped(_Settings):
    """Of a method that compares activations; ``taps`` empty means its own default."""

    method: str
    taps: tuple[TapPair, ...] = ()


class CosineLatentSettings(Tapped):
    """``width`` is the common dimension of both latents; by default the teacher's."""

    method: Literal["cosine-latent"] = "cosine-latent"
    weight: NonNegativeFloat = 0.1
    width: PositiveInt | None = None


class OutputSettings(_Settings):
    """Shares of the two distances between the compressed estimates."""

    method: Literal["output"] = "output"
    weight: NonNegativeFloat = 1.0
    magnitude: NonNegativeFloat = 0.7
    complex: NonNegativeFloat = 0.3


class SimilaritySettings(Tapped):
    """Shares of the Gram matrices per frame and per frequency."""

    method: Literal["similarity"] = "similarity"
    weight: NonNegativeFloat = 0.3
    per_time: NonNegativeFloat = 0.5
    per_frequency: NonNegativeFloat = 0.5

    @property
    def least_items(self) -> int:
        return 2


class AttentionSettings(Tapped):
    """Attention transfer has no option of its own."""

    method: Literal["attention"] = "attention"
    weight: NonNegativeFloat = 0.1


class HintSettings(Tapped):
    """A hint has no option of its own."""

    method: Literal["hint"] = "hint"
    weight: NonNegativeFloat = 0.1


class RelationalSettings(Tapped):
    """Weights of distances and angles, in the ratio of the paper."""

    method: Literal["relational"] = "relational"
    weight: NonNegativeFloat = 0.05
    distance: NonNegativeFloat = 1.0
    angle: NonNegativeFloat = 2.0

    @property
    def least_items(self) -> int:
        return 3 if self.angle else 2


class SelectiveSettings(_Settings):
    """Patches of ``frames`` × ``bins``, of which at most ``share`` are distilled."""

    method: Literal["selective"] = "selective"
    weight: NonNegativeFloat = 1.0
    frames: PositiveInt = 1
    bins: PositiveInt = 16
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    magnitude: NonNegativeFloat = 0.7
    complex: NonNegativeFloat = 0.3


MethodSettings = Annotated[
    CosineLatentSettings
    | OutputSettings
    | SimilaritySettings
    | AttentionSettings
    | HintSettings
    | RelationalSettings
    | SelectiveSettings,
    Field(discriminator="method"),
]
