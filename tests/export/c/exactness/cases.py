"""Every operator the C generator takes, with the types TFLM has it in and how cases are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.export.c.exactness import convolution_cases as convolution
from tests.export.c.exactness import elementwise_cases as elementwise
from tests.export.c.exactness import moving_cases as moving
from tests.export.c.exactness.checking import Generator

ALL = ("int8", "int16", "float32")
INTEGERS = ("int8", "int16")


@dataclass(frozen=True)
class Family:
    """Cases of one operator, in each of ``dtypes``."""

    draw: Generator
    dtypes: tuple[str, ...] = ALL
    moves: bool = False  # values only move: their type matters for nothing but its size

    def slow_cases(self, dtype: str) -> int:
        """Cases in the slow suite: at least 10,000 per operator, and per type with arithmetic."""
        if self.moves:
            return 3_400
        return 2_000 if dtype == "float32" else 10_000


FAMILIES: Mapping[str, Family] = {
    "ADD": Family(elementwise.binary("ADD")),
    "CONCATENATION": Family(moving.concatenation, moves=True),
    "CONV_2D": Family(convolution.conv_2d),
    "DEPTHWISE_CONV_2D": Family(convolution.depthwise_conv_2d),
    "DEQUANTIZE": Family(elementwise.conversion("DEQUANTIZE", "float32"), INTEGERS),
    "EXPAND_DIMS": Family(moving.expand_dims, moves=True),
    "FULLY_CONNECTED": Family(convolution.fully_connected),
    "LEAKY_RELU": Family(elementwise.leaky_relu),
    "LOGISTIC": Family(elementwise.curved("LOGISTIC")),
    "MAXIMUM": Family(elementwise.extremum("MAXIMUM")),
    "MEAN": Family(elementwise.mean),
    "MINIMUM": Family(elementwise.extremum("MINIMUM")),
    "MUL": Family(elementwise.binary("MUL")),
    "PACK": Family(moving.pack, moves=True),
    "PAD": Family(moving.pad, moves=True),
    "PRELU": Family(elementwise.prelu, ("int8", "float32")),
    "QUANTIZE to int8": Family(elementwise.conversion("QUANTIZE", "int8"), INTEGERS),
    "QUANTIZE to int16": Family(elementwise.conversion("QUANTIZE", "int16"), INTEGERS),
    "RELU": Family(elementwise.relu),
    "RELU6": Family(elementwise.relu6),
    "RESHAPE": Family(moving.reshape, moves=True),
    "SLICE": Family(moving.slice_, moves=True),
    "SPLIT": Family(moving.split, moves=True),
    "SPLIT_V": Family(moving.split_v, moves=True),
    "SQUEEZE": Family(moving.squeeze, moves=True),
    "STRIDED_SLICE": Family(moving.strided_slice, moves=True),
    "SUB": Family(elementwise.binary("SUB")),
    "TANH": Family(elementwise.curved("TANH")),
    "TRANSPOSE": Family(moving.transpose, moves=True),
    "TRANSPOSE_CONV": Family(convolution.transpose_conv),
    "UNPACK": Family(moving.unpack, moves=True),
}
