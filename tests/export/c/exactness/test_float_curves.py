"""Logistic and tanh in float32, which do without a mathematical library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from export.c.call import Call, Params
from tests.export.c.exactness.library import KernelLibrary, Memory

Doubles = npt.NDArray[np.float64]
ACCURACY = 1e-6  # of the result


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> KernelLibrary:
    folder = tmp_path_factory.mktemp("curves")
    return KernelLibrary(folder, headers=["activation_f32.h"], optimise="-O2")


def applied(library: KernelLibrary, name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    given = np.asarray(values, np.float32)
    memory = {0: Memory(given.nbytes, 4, given), 1: Memory(given.nbytes, 4)}
    params = Params("sordino_curve_f32_params", (("size", given.size),))
    library.run(Call(f"sordino_{name}_f32", "activation_f32.h", params, (0,), (1,)), memory)
    return memory[1].view("float32", given.shape)


def logistic(x: Doubles) -> Doubles:
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize(("name", "exact"), [("logistic", logistic), ("tanh", np.tanh)])
def test_curves_are_accurate_from_the_smallest_to_the_largest(
    name: str, exact: Callable[[Doubles], Doubles], library: KernelLibrary
) -> None:
    sizes = np.concatenate([np.linspace(0.0, 87.0, 50_001), np.logspace(-30, 1, 20_001)])
    values = np.concatenate([sizes, -sizes]).astype(np.float32)
    wanted = exact(values.astype(np.float64))
    found = applied(library, name, values)
    assert np.all(np.abs(found - wanted) <= ACCURACY * np.abs(wanted))


def test_what_lies_beyond_is_at_the_ends(library: KernelLibrary) -> None:
    values = [-np.inf, -1e30, 1e30, np.inf]
    assert applied(library, "tanh", values).tolist() == [-1.0, -1.0, 1.0, 1.0]
    low, lower, high, higher = applied(library, "logistic", values)
    assert 0.0 <= low == lower < 1e-37
    assert high == higher == 1.0


@pytest.mark.parametrize("name", ["logistic", "tanh"])
def test_not_a_number_becomes_one(name: str, library: KernelLibrary) -> None:
    assert np.isfinite(applied(library, name, [np.nan])).all()
