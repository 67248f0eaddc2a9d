"""What a student is told about an operator that the step graph cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.operators import TROUBLES
from targets.errors import InputError


@dataclass(frozen=True)
class Place:
    """Where in the student an operator is: ``module`` is a path, empty for the step's own code;
    ``after`` is the module that computed its input."""

    module: str
    after: str = ""

    def __str__(self) -> str:
        if self.module:
            return self.module
        return f"the step itself, behind {self.after}" if self.after else "the step itself"


class Uncovered(InputError):
    """An operator, or a way of using one, that the step graph has nothing for."""


class Unfit(Exception):
    """What a translation raises; the place is added where it is known."""

    def __init__(self, reason: str, hint: str) -> None:
        self.reason, self.hint = reason, hint
        super().__init__(reason)


_NORM = "Use BatchNorm2d behind a convolution: it folds into the weights."
_RELU = "Use ReLU, LeakyReLU or PReLU."
_GATE = "Use Sigmoid for a gate, or a convolution with fixed weights."
_DIVIDE = "Multiply by a learned gate (Sigmoid) instead of dividing."
_GATHER = "Use slices and torch.cat, or a Linear layer with a fixed matrix."
_CONTRACT = "Leave it to the features: the contract computes spectra and their compression."

# Reasons and suggestions by aten's name; those of distill.operators hold where nothing is here.
_REFUSED: dict[str, tuple[str, str]] = {
    "layer_norm": ("it normalises with statistics of the frame itself", _NORM),
    "group_norm": ("it normalises with statistics of the frame itself", _NORM),
    "instance_norm": ("it normalises with statistics of the frame itself", _NORM),
    "rms_norm": ("it normalises with statistics of the frame itself", _NORM),
    "var": ("statistics of the frame itself do not quantize", _NORM),
    "std": ("statistics of the frame itself do not quantize", _NORM),
    "elu": ("it needs EXP, which has no int8 kernel", _RELU),
    "selu": ("it needs EXP, which has no int8 kernel", _RELU),
    "celu": ("it needs EXP, which has no int8 kernel", _RELU),
    "softplus": ("it needs EXP and LOG, which have no int8 kernel", _RELU),
    "mish": ("it needs EXP and LOG, which have no int8 kernel", _RELU),
    "gelu": (
        "its exact form needs ERF, which has no int8 kernel",
        "Use GELU(approximate='tanh'), which is covered, or ReLU or PReLU.",
    ),
    "softmax": ("it divides by a sum of exponentials", _GATE),
    "log_softmax": ("it divides by a sum of exponentials", _GATE),
    "scaled_dot_product_attention": (
        "it multiplies activations with activations and divides by a sum of exponentials",
        "Use a GRU or dilated convolutions over time, and a GRU over frequency.",
    ),
    "exp": ("it has no int8 kernel", "Use Sigmoid or Tanh."),
    "log": ("it has no int8 kernel", _CONTRACT),
    "log10": ("it has no int8 kernel", _CONTRACT),
    "log1p": ("it has no int8 kernel", _CONTRACT),
    "sqrt": ("it has no int8 kernel", _CONTRACT),
    "rsqrt": ("it has no int8 kernel", _NORM),
    "reciprocal": ("it divides by a computed value", _DIVIDE),
    "max_pool2d": ("it is not among the operators of the step graph", "Use AvgPool2d or a stride."),
    "max_pool1d": ("it is not among the operators of the step graph", "Use AvgPool1d or a stride."),
    "bmm": ("both of its factors are computed", "Use fixed weights: Linear or a convolution."),
    "index": ("it gathers values one by one", _GATHER),
    "index_select": ("it gathers values one by one", _GATHER),
    "gather": ("it gathers values one by one", _GATHER),
    "flip": ("it reverses values", "Permute the weights of the next layer instead."),
    "roll": ("it moves values around the end", _GATHER),
    "einsum": ("it can be any product", "Write it as Linear, or as a convolution."),
    "copy": (
        "it writes into a part of a tensor",
        "Build the tensor with torch.cat from its parts.",
    ),
    "upsample_bilinear2d": (
        "it interpolates",
        "Use nearest upsampling, ConvTranspose2d or a sub-pixel convolution.",
    ),
    "upsample_linear1d": (
        "it interpolates",
        "Use nearest upsampling, ConvTranspose1d or a sub-pixel convolution.",
    ),
    "where": ("it decides value by value", "Multiply by a gate (Sigmoid) or use ReLU."),
}
_UNKNOWN = (
    "the step graph has nothing that computes it",
    "docs/any-student.md lists what is covered; convolutions, Linear, GRU and LSTM are.",
)


def reason_for(operator: str) -> tuple[str, str]:
    """Why an operator of aten is refused, and what to use instead."""
    if operator in _REFUSED:
        return _REFUSED[operator]
    trouble = TROUBLES.get(operator)
    return _UNKNOWN if trouble is None else (trouble.message, trouble.hint)


def uncovered(
    operator: str, place: Place, reason: str, hint: str, others: Sequence[str] = ()
) -> Uncovered:
    """The error for one operator; ``others`` are further ones, each with its place."""
    more = f" Further: {'; '.join(others[:5])}." if others else ""
    return Uncovered(
        f"The operator {operator} in {place} cannot be exported: {reason}.{more}", hint=hint
    )
