"""Operators of .tflite files that may be run, each with the check of its operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from runtime.modelfile import tflite_elementwise as elementwise
from runtime.modelfile import tflite_moves as moves
from runtime.modelfile import tflite_products as products
from runtime.modelfile.tflite_schema import SCHEMA
from runtime.modelfile.tflite_tensors import Call


class Rule(NamedTuple):
    """``check`` takes a call whose tensors exist, raises Damaged, and returns the call's work."""

    name: str
    check: Callable[[Call], int]
    inputs: tuple[int, int]  # fewest and most
    options: str = ""  # the table of its options
    outputs: tuple[int, int] = (1, 1)
    optional: tuple[int, ...] = ()  # places of inputs that may be absent
    may_lack_options: bool = False

    @property
    def needs_options(self) -> bool:
        """Whether kernels look into its options: not where there is nothing in them."""
        return bool(self.options and SCHEMA[self.options]) and not self.may_lack_options


MANY: Final = 512

RULES: Final[dict[int, Rule]] = {
    # Products.
    3: Rule("CONV_2D", products.conv_2d, (2, 3), "Conv2DOptions", optional=(2,)),
    4: Rule(
        "DEPTHWISE_CONV_2D",
        products.depthwise_conv_2d,
        (2, 3),
        "DepthwiseConv2DOptions",
        optional=(2,),
    ),
    67: Rule(
        "TRANSPOSE_CONV", products.transpose_conv, (3, 4), "TransposeConvOptions", optional=(3,)
    ),
    9: Rule(
        "FULLY_CONNECTED", products.fully_connected, (2, 3), "FullyConnectedOptions", optional=(2,)
    ),
    126: Rule("BATCH_MATMUL", products.batch_matmul, (2, 2), "BatchMatMulOptions"),
    1: Rule("AVERAGE_POOL_2D", products.pool, (1, 1), "Pool2DOptions"),
    17: Rule("MAX_POOL_2D", products.pool, (1, 1), "Pool2DOptions"),
    # One input, element by element.
    14: Rule("LOGISTIC", elementwise.quantizable, (1, 1)),
    28: Rule("TANH", elementwise.quantizable, (1, 1)),
    19: Rule("RELU", elementwise.quantizable, (1, 1)),
    20: Rule("RELU_N1_TO_1", elementwise.quantizable, (1, 1)),
    21: Rule("RELU6", elementwise.quantizable, (1, 1)),
    98: Rule("LEAKY_RELU", elementwise.leaky_relu, (1, 1), "LeakyReluOptions"),
    111: Rule("ELU", elementwise.quantizable, (1, 1)),
    117: Rule("HARD_SWISH", elementwise.quantizable, (1, 1), "HardSwishOptions"),
    150: Rule("GELU", elementwise.quantizable, (1, 1), "GeluOptions"),
    101: Rule("ABS", elementwise.quantizable, (1, 1), "AbsOptions"),
    59: Rule("NEG", elementwise.floating, (1, 1), "NegOptions"),
    47: Rule("EXP", elementwise.quantizable, (1, 1), "ExpOptions"),
    73: Rule("LOG", elementwise.floating, (1, 1)),
    75: Rule("SQRT", elementwise.floating, (1, 1)),
    76: Rule("RSQRT", elementwise.quantizable, (1, 1)),
    92: Rule("SQUARE", elementwise.floating, (1, 1), "SquareOptions"),
    66: Rule("SIN", elementwise.floating, (1, 1)),
    108: Rule("COS", elementwise.floating, (1, 1), "CosOptions"),
    8: Rule("FLOOR", elementwise.floating, (1, 1)),
    104: Rule("CEIL", elementwise.floating, (1, 1)),
    116: Rule("ROUND", elementwise.floating, (1, 1)),
    25: Rule("SOFTMAX", elementwise.softmax, (1, 1), "SoftmaxOptions"),
    50: Rule("LOG_SOFTMAX", elementwise.along_last, (1, 1), "LogSoftmaxOptions"),
    114: Rule("QUANTIZE", elementwise.quantize, (1, 1), "QuantizeOptions"),
    6: Rule("DEQUANTIZE", elementwise.dequantize, (1, 1), "DequantizeOptions"),
    53: Rule("CAST", elementwise.cast, (1, 1), "CastOptions"),
    # Two inputs, one spread over the other.
    0: Rule("ADD", elementwise.sum_, (2, 2), "AddOptions"),
    41: Rule("SUB", elementwise.sum_, (2, 2), "SubOptions"),
    18: Rule("MUL", elementwise.product, (2, 2), "MulOptions"),
    42: Rule("DIV", elementwise.quotient, (2, 2), "DivOptions"),
    55: Rule("MAXIMUM", elementwise.comparison, (2, 2), "MaximumMinimumOptions"),
    57: Rule("MINIMUM", elementwise.comparison, (2, 2), "MaximumMinimumOptions"),
    99: Rule("SQUARED_DIFFERENCE", elementwise.sum_, (2, 2), "SquaredDifferenceOptions"),
    78: Rule("POW", elementwise.power, (2, 2), "PowOptions"),
    54: Rule("PRELU", elementwise.prelu, (2, 2)),
    # Reductions.
    40: Rule("MEAN", moves.reduce, (2, 2), "ReducerOptions"),
    74: Rule("SUM", moves.reduce, (2, 2), "ReducerOptions"),
    82: Rule("REDUCE_MAX", moves.reduce, (2, 2), "ReducerOptions"),
    89: Rule("REDUCE_MIN", moves.reduce, (2, 2), "ReducerOptions"),
    # What moves values and computes nothing.
    2: Rule("CONCATENATION", moves.concatenation, (1, MANY), "ConcatenationOptions"),
    49: Rule("SPLIT", moves.split, (2, 2), "SplitOptions", (1, MANY)),
    102: Rule("SPLIT_V", moves.split_v, (3, 3), "SplitVOptions", (1, MANY)),
    88: Rule("UNPACK", moves.unpack, (1, 1), "UnpackOptions", (1, MANY)),
    83: Rule("PACK", moves.pack, (1, MANY), "PackOptions"),
    22: Rule("RESHAPE", moves.reshape, (1, 2), "ReshapeOptions", may_lack_options=True),
    43: Rule("SQUEEZE", moves.squeeze, (1, 1), "SqueezeOptions"),
    70: Rule("EXPAND_DIMS", moves.expand_dims, (2, 2), "ExpandDimsOptions"),
    34: Rule("PAD", moves.pad, (2, 2), "PadOptions"),
    60: Rule("PADV2", moves.pad, (3, 3), "PadV2Options"),
    100: Rule("MIRROR_PAD", moves.mirror_pad, (2, 2), "MirrorPadOptions"),
    45: Rule("STRIDED_SLICE", moves.strided_slice, (4, 4), "StridedSliceOptions"),
    65: Rule("SLICE", moves.slice_, (3, 3), "SliceOptions"),
    39: Rule("TRANSPOSE", moves.transpose, (2, 2), "TransposeOptions"),
    36: Rule("GATHER", moves.gather, (2, 2), "GatherOptions"),
    5: Rule("DEPTH_TO_SPACE", moves.depth_to_space, (1, 1), "DepthToSpaceOptions"),
    26: Rule("SPACE_TO_DEPTH", moves.space_to_depth, (1, 1), "SpaceToDepthOptions"),
    97: Rule("RESIZE_NEAREST_NEIGHBOR", moves.resize, (2, 2), "ResizeNearestNeighborOptions"),
}
