"""Weights permuted instead of activations.

A network that flattens channels and frequencies in torch's order, or takes them apart again, would
need its values moved; the matrix before or behind it can as well have its rows or columns moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from export.importing.readers import Readers, readers_of
from export.step_graph import Conv2d, Operator, Reshape, Tensor, Transpose

Indices = npt.NDArray[np.intp]


def permuted(operators: Sequence[Operator], kept: set[str]) -> list[Operator]:
    """Without the transpositions that a matrix product takes over; ``kept`` are the outputs."""
    result = list(operators)
    for operator in operators:
        if isinstance(operator, Transpose):
            result = _behind(result, operator, kept) or _before(result, operator, kept) or result
    return result


def _behind(
    operators: Sequence[Operator], turned: Transpose, kept: set[str]
) -> list[Operator] | None:
    """Transpose, reshape to one vector, products: the columns of the products move."""
    readers = readers_of(operators)
    changed: dict[str, Operator] = {}
    for flat in readers[turned.output.name]:
        if not isinstance(flat, Reshape) or flat.output.name in kept or not _is_vector(flat.output):
            return None
        products = [one for one in readers[flat.output.name] if _is_product(one)]
        if len(products) != len(readers[flat.output.name]):
            return None
        order = _order(turned)
        changed[flat.output.name] = replace(flat, input=turned.input)
        for product in products:
            assert isinstance(product, Conv2d)
            weight = np.empty_like(product.weight)
            weight[..., order] = product.weight
            changed[product.output.name] = replace(product, weight=weight)
    if not changed or turned.output.name in kept:
        return None
    return [
        changed.get(operator.output.name, operator)
        for operator in operators
        if operator is not turned
    ]


def _before(
    operators: Sequence[Operator], turned: Transpose, kept: set[str]
) -> list[Operator] | None:
    """A product, reshaped and transposed: the rows of the product move."""
    readers = readers_of(operators)
    made: Mapping[str, Operator] = {operator.output.name: operator for operator in operators}
    shaped = made.get(turned.input.name)
    if not isinstance(shaped, Reshape) or not _is_only_reader(readers, turned, kept):
        return None
    product = made.get(shaped.input.name)
    if not isinstance(product, Conv2d) or not _is_only_reader(readers, shaped, kept):
        return None
    if not _is_product(product) or not _is_vector(product.output):
        return None
    order = _order(turned)
    moved = replace(product, weight=product.weight[order], bias=product.bias[order])
    changed: dict[str, Operator] = {
        product.output.name: moved,
        shaped.output.name: Reshape(turned.output, moved.output),
    }
    return [
        changed.get(operator.output.name, operator)
        for operator in operators
        if operator is not turned
    ]


def _is_only_reader(readers: Readers, operator: Reshape | Transpose, kept: set[str]) -> bool:
    name = operator.input.name
    return len(readers[name]) == 1 and name not in kept


def _is_product(operator: Operator) -> bool:
    return (
        isinstance(operator, Conv2d)
        and operator.groups == 1
        and operator.weight.shape[1:3] == (1, 1)
        and operator.stride == (1, 1)
    )


def _is_vector(tensor: Tensor) -> bool:
    return tensor.shape[:3] == (1, 1, 1)


def _order(turned: Transpose) -> Indices:
    """Which value of the input each value of the output is, both taken flat."""
    shape = turned.input.shape
    places: Indices = np.arange(int(np.prod(shape))).reshape(shape)
    return places.transpose(turned.order).reshape(-1)
