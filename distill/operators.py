"""What becomes of an operator on an int8 device: available, at a price, or not at all.

Names are those of torch's dispatcher (aten), in-place variants without their underscore. What
TensorFlow Lite Micro (TFLM) takes was tried with a file of one operator for each of int8, int16
and float32 (tflite-micro 0.dev20261023182759); the traps were measured while exporters were
compared, see docs/budget.md.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "unknown"]


class Trouble(NamedTuple):
    """Why an operator does not quantize, or at what price, and what to use instead."""

    severity: Severity
    message: str
    hint: str


_RELU = "Use ReLU, LeakyReLU or PReLU."
_FLOAT = "{} has a float kernel only in TFLM"


def _float_only(operator: str, hint: str) -> Trouble:
    return Trouble("error", _FLOAT.format(operator), hint)


_STATISTICS = Trouble(
    "warning",
    "normalises with statistics of the frame itself: MEAN, SQUARED_DIFFERENCE and RSQRT, of which "
    "RSQRT was poor in 16-bit LiteRT (27 dB)",
    "Use batch norm behind a convolution: it folds into the weights.",
)
_FFT = Trouble(
    "error",
    "a Fourier transform inside the network cannot be quantized",
    "Leave the STFT to the contract and let the network see its features.",
)
_COMPLEX = Trouble(
    "error",
    "complex numbers have no int8 form",
    "Leave the spectra to the contract: the network sees real features and returns a mask.",
)
_SORTING = Trouble(
    "error", "sorting has no operator in TFLM", "Use a maximum or a learned gate instead."
)

TROUBLES: dict[str, Trouble] = {
    "gelu": Trouble("error", "GELU is not in TFLM", _RELU),
    "mish": _float_only("Mish needs EXP and LOG, and each", _RELU),
    "softplus": _float_only("Softplus needs EXP and LOG, and each", _RELU),
    "log_sigmoid_forward": _float_only("LogSigmoid needs EXP and LOG, and each", "Use Sigmoid."),
    "celu": _float_only("CELU needs EXP, which", _RELU),
    "exp": _float_only("EXP", "Use Sigmoid or Tanh, or leave it to the contract."),
    "log": _float_only("LOG", "Leave compression to the contract's features."),
    "log10": _float_only("LOG", "Leave compression to the contract's features."),
    "log1p": _float_only("LOG", "Leave compression to the contract's features."),
    "sqrt": _float_only("SQRT", "Leave magnitudes to the contract's features."),
    "sin": _float_only("SIN", "Compute it ahead and keep it as a constant."),
    "cos": _float_only("COS", "Compute it ahead and keep it as a constant."),
    "floor": _float_only("FLOOR", "Leave rounding to quantization."),
    "pow": Trouble(
        "error",
        "POW is not in TFLM, and SQUARE has a float kernel only",
        "Write a square as a product with itself; leave compression to the contract's features.",
    ),
    "erf": Trouble("error", "ERF is not in TFLM", _RELU),
    "atan2": Trouble("error", "ATAN2 is not in TFLM", "Estimate a complex mask instead of phase."),
    "angle": Trouble("error", "ATAN2 is not in TFLM", "Estimate a complex mask instead of phase."),
    "sort": _SORTING,
    "topk": _SORTING,
    "rsqrt": Trouble(
        "warning", "RSQRT was poor in 16-bit LiteRT (27 dB)", "Use batch norm, which folds away."
    ),
    "elu": Trouble("warning", "ELU and SELU have no 16-bit kernel in TFLM", _RELU),
    "hardswish": Trouble("warning", "HARD_SWISH has no 16-bit kernel in TFLM", _RELU),
    "hardsigmoid": Trouble(
        "warning",
        "Hardsigmoid becomes RELU6, which TFLM computes wrongly when the scales of input and "
        "output differ",
        "Use Sigmoid.",
    ),
    "pixel_shuffle": Trouble(
        "warning",
        "DEPTH_TO_SPACE has no 16-bit kernel in TFLM",
        "Unfold channels along frequency with a reshape, as SubPixelConv does.",
    ),
    "sum": Trouble(
        "warning",
        "SUM is wrong at int8 in LiteRT's reference kernels",
        "Use a mean, or a convolution with ones.",
    ),
    "cumsum": Trouble(
        "warning",
        "a running sum grows without bound, and int8 does not; CUMSUM has no 16-bit kernel in TFLM",
        "Use a decaying mean (first-order recursion) or batch norm.",
    ),
    "native_layer_norm": _STATISTICS,
    "native_group_norm": _STATISTICS,
    "_fused_rms_norm": _STATISTICS,
    "_fft_r2c": _FFT,
    "_fft_c2r": _FFT,
    "_fft_c2c": _FFT,
    "complex": _COMPLEX,
    "view_as_complex": _COMPLEX,
    "view_as_real": _COMPLEX,
    "polar": _COMPLEX,
}

# Taken as they are, or rewritten exactly with what there is: arithmetic and activations, products
# with weights, recurrent layers, pooling and resizing, and whatever only moves values about.
_FINE = """
    _prelu_kernel _softmax abs add add_relu clamp clamp_max clamp_min dropout glu leaky_relu lerp
    masked_fill maximum minimum mul native_dropout neg relu rsub sigmoid silu sub tanh threshold
    where
    _native_batch_norm_legit_no_training addmm convolution cudnn_batch_norm gru lstm
    mkldnn_rnn_layer mm native_batch_norm
    adaptive_avg_pool2d avg_pool2d constant_pad_nd max_pool2d_with_indices mean pad
    reflection_pad1d upsample_nearest1d upsample_nearest2d
    _reshape_alias _to_copy _unsafe_view alias as_strided cat chunk clone contiguous copy detach
    empty_like expand fill flatten flip index index_select narrow new_zeros ones_like permute
    repeat reshape resize roll select select_scatter slice slice_scatter split split_with_sizes
    squeeze stack t transpose unbind unfold unsafe_chunk unsafe_split unsqueeze view zero
    zeros_like
"""
FINE = frozenset(_FINE.split())

# Trouble only where both operands, or the divisor, are computed from the input.
_PRODUCT = Trouble(
    "warning",
    "a product of two activations (BATCH_MATMUL) is not among the operators that sordino writes "
    "or has verified",
    "Use fixed weights: a convolution or a linear layer.",
)
_DIVISION = Trouble(
    "warning",
    "DIV by a computed value has no 16-bit kernel in TFLM",
    "Multiply by a learned gate instead.",
)
_LONE_RELU6 = Trouble(
    "warning",
    "a RELU6 that stands alone is wrong in TFLM when the scales of input and output differ",
    "Put it right behind a convolution, or use ReLU.",
)


def trouble_with(operator: str, computed: tuple[bool, bool], *, fuses: bool) -> Trouble | None:
    """What is wrong with an operator, ``None`` for nothing.

    ``computed``: which of its first two operands depend on the input. ``fuses``: it comes right
    behind a convolution.
    """
    name = operator[:-1] if operator.endswith("_") else operator
    match name:
        case "bmm" | "baddbmm":
            return _PRODUCT if all(computed) else None
        case _ if "attention" in name:
            return _PRODUCT
        case "div":
            return _DIVISION if computed[1] else None
        case "reciprocal":
            return _DIVISION
        case "hardtanh":
            return None if fuses else _LONE_RELU6
        case _ if name in TROUBLES:
            return TROUBLES[name]
        case _ if name in FINE:
            return None
    return Trouble(
        "unknown",
        f"nothing is known here about the operator {name} on a device",
        "Look whether the runtime of the target has an int8 kernel for it.",
    )
