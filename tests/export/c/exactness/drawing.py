"""Random tensors: shapes, scales, zero points, and values with the extremes among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from tests.export.c.exactness.files import Array, Value

T = TypeVar("T")
LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}


class Drawer:
    """Draws the parts of one case from one seeded generator."""

    def __init__(self, seed: Sequence[int]) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """Uniform in ``low … high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, *choices: T) -> T:
        return choices[self.integer(0, len(choices) - 1)]

    def shape(self, rank: int | None = None, largest: int = 6) -> tuple[int, ...]:
        """A shape with first dimension 1 where it has several."""
        rank = rank or self.integer(1, 4)
        sizes = tuple(self.integer(1, largest) for _ in range(rank))
        return (1, *sizes[1:]) if rank > 1 else (self.integer(1, 24),)

    def scale(self, low: float = 1e-3, high: float = 1.0) -> float:
        """Log-uniform; one in eight is a power of two."""
        exponent = self.rng.uniform(np.log2(low), np.log2(high))
        if self.chance(0.125):
            exponent = np.round(exponent)
        return float(np.float32(2.0**exponent))

    def zero_point(self, dtype: str) -> int:
        """0 in int16, which has no other; in int8 often the ends of the range."""
        if dtype != "int8":
            return 0
        return self.one_of(0, -128, 127, *(self.integer(-128, 127) for _ in range(5)))

    def activation(
        self,
        shape: tuple[int, ...],
        dtype: str,
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> Value:
        if dtype == "float32":
            return Value(shape, dtype)
        scale = self.scale() if scale is None else scale
        zero_point = self.zero_point(dtype) if zero_point is None else zero_point
        return Value(shape, dtype, (scale,), (zero_point,))

    def values(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Uniform over the whole type, one in eight an extreme; floats are normal."""
        if dtype == "float32":
            spread = self.one_of(0.1, 1.0, 10.0)
            return self.rng.normal(0, spread, shape).astype(np.float32)
        low, high = LIMITS[dtype]
        drawn = self.rng.integers(low, high + 1, shape)
        extreme = self.rng.choice([low, low + 1, -1, 0, 1, high - 1, high], shape)
        return np.where(self.rng.random(shape) < 0.125, extreme, drawn).astype(dtype)

    def feeds(self, *inputs: Value | None) -> tuple[Array, ...]:
        """Values for those inputs that are no constants."""
        return tuple(
            self.values(value.shape, value.dtype)
            for value in inputs
            if value is not None and value.data is None
        )

    def constant_like(self, value: Value) -> Value:
        """The same tensor as a constant."""
        data = self.values(value.shape, value.dtype)
        return Value.constant(data, value.scales, value.zero_points, value.axis)
