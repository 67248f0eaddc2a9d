"""Every kernel against TFLM's interpreter, value by value, over random shapes and parameters."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from export.c.model import read
from export.c.operators.table import OPERATORS
from tests.export.c.exactness.cases import FAMILIES
from tests.export.c.exactness.checking import compare
from tests.export.c.exactness.drawing import Drawer
from tests.export.c.exactness.files import file_of, model_of
from tests.export.c.exactness.library import KERNELS, KernelLibrary

TAKEN = {name: family for name, family in FAMILIES.items() if name.split()[0] in OPERATORS}
SOME = [(name, dtype) for name, family in TAKEN.items() for dtype in family.dtypes]
QUICK = 60  # cases of each operator and type
QUICK_SEED, SLOW_SEED = 1, 2


@pytest.mark.parametrize(("name", "dtype"), SOME)
def test_kernels_are_exact(name: str, dtype: str, libraries: list[KernelLibrary]) -> None:
    outcome = compare(FAMILIES[name].draw, dtype, libraries, QUICK, QUICK_SEED)
    outcome.assert_exact()
    assert outcome.values >= QUICK


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), SOME)
def test_kernels_are_exact_in_all_their_cases(
    name: str, dtype: str, libraries: list[KernelLibrary]
) -> None:
    count = FAMILIES[name].slow_cases(dtype)
    compare(FAMILIES[name].draw, dtype, libraries, count, SLOW_SEED).assert_exact()


@pytest.mark.parametrize("name", ["ADD", "SUB"])
def test_sums_are_exact_where_no_plane_is_found(
    name: str, libraries: list[KernelLibrary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.c.operators.sums.plane_of", lambda *results: None)
    compare(FAMILIES[name].draw, "int8", libraries, 4 * QUICK, QUICK_SEED).assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ADD", "SUB"])
def test_sums_are_exact_in_all_their_cases_where_no_plane_is_found(
    name: str, libraries: list[KernelLibrary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.c.operators.sums.plane_of", lambda *results: None)
    compare(FAMILIES[name].draw, "int8", libraries, 10_000, SLOW_SEED).assert_exact()


def test_every_operator_of_the_generator_has_cases() -> None:
    assert {name.split()[0] for name in TAKEN} == set(OPERATORS)


def test_every_operator_has_ten_thousand_slow_cases() -> None:
    for name, family in FAMILIES.items():
        assert sum(family.slow_cases(dtype) for dtype in family.dtypes) >= 10_000, name


@pytest.mark.parametrize(("name", "dtype"), SOME)
def test_what_is_lowered_is_what_a_file_says(name: str, dtype: str) -> None:
    """The cases skip parsing: their model must be the one that parsing gives."""
    cases = [FAMILIES[name].draw(Drawer((3, number)), dtype) for number in range(5)]
    given, parsed = model_of(cases), read(file_of(cases))
    for mine, theirs in zip(given.operators, parsed.operators, strict=True):
        assert vars(mine) == vars(theirs)
    for tensor, stored in zip(given.tensors, parsed.tensors, strict=True):
        assert repr(tensor.data) == repr(stored.data)
        assert {**vars(tensor), "data": None} == {**vars(stored), "data": None}


# Where a mistake is planted, the right and the wrong text, the header of the kernels that use it,
# and an operator whose cases must find it.
MISTAKES: Mapping[str, tuple[str, str, str, str, str, str]] = {
    "one rounding instead of two": (
        "rounding.h",
        "const uint32_t low = 0x40000000u + ((uint32_t)value & 0x80000000u);",
        "const uint32_t low = ((uint32_t)value & 0x80000000u);",
        "product.h",
        "MUL",
        "int8",
    ),
    "half up instead of half away from zero": (
        "rounding.h",
        "(((product + (product >> 31)) >> (-scale.shift - 1)) + 1) >> 1",
        "((product >> (-scale.shift - 1)) + 1) >> 1",
        "prelu.h",
        "PRELU",
        "int8",
    ),
    "a sum shifted too far": (
        "plane.h",
        "const int32_t shift = p->shift - 1;",
        "const int32_t shift = p->shift;",
        "plane.h",
        "ADD",
        "int8",
    ),
    "no saturation": (
        "rounding.h",
        "return value < lowest ? lowest : (value > highest ? highest : value);",
        "return value + 0 * (lowest + highest);",
        "product.h",
        "MUL",
        "int8",
    ),
    "one value too few": (
        "lut.h",
        "for (; left > 0; --left) {",
        "for (; left > 1; --left) {",
        "lut.h",
        "TANH",
        "int8",
    ),
    "one value too many": (
        "lut.h",
        "for (; left > 0; --left) {",
        "for (; left >= 0; --left) {",
        "lut.h",
        "TANH",
        "int8",
    ),
    "the next entry of the table left out": (
        "curve_s16.h",
        "return (from << bits) + way * (to - from);",
        "return (from << bits) + 0 * way * (to - from);",
        "curve_s16.h",
        "LOGISTIC",
        "int16",
    ),
    "a broadcast axis not reset": (
        "broadcast.h",
        "row->second -= b->size[axis] * b->second[axis];",
        "",
        "elementwise_f32.h",
        "MUL",
        "float32",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(
    mistake: str, tmp_path: Path, libraries: list[KernelLibrary]
) -> None:
    header, right, wrong, used, name, dtype = MISTAKES[mistake]
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    text = (kernels / header).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (kernels / header).write_text(text.replace(right, wrong), encoding="utf-8")
    broken = KernelLibrary(tmp_path, kernels=kernels, headers=[used])
    outcome = compare(FAMILIES[name].draw, dtype, [broken], 300, QUICK_SEED)
    with pytest.raises(AssertionError, match=f"{name} differs, seed"):
        outcome.assert_exact()
