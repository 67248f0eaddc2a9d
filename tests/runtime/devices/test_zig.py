"""Firmware built by the clang of the package ziglang, as where no cross GCC is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from runtime.devices import zig
from runtime.devices.bare_metal import simulate
from runtime.devices.children import ToolMissing
from runtime.devices.cores import CORES
from runtime.devices.simulation import GoldenVectors
from targets.errors import GateFailed
from tests.runtime.devices import handmade

SIMULATORS = sorted({core.toolchain.simulator for core in CORES.values()})
QUICK = ("cortex-m4",)  # the library of a core is compiled once, in some five seconds
needs_zig = pytest.mark.skipif(not zig.available(), reason="ziglang is not installed")


def cores(*names: str) -> list[object]:
    found: list[object] = []
    for name in names:
        simulator = CORES[name].toolchain.simulator
        missing = pytest.mark.skipif(not shutil.which(simulator), reason=f"no {simulator}")
        found.append(pytest.param(name, marks=[needs_zig, missing]))
    return found


@pytest.fixture
def without_gcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH on which there is nothing but the simulators."""
    for name in SIMULATORS:
        if program := shutil.which(name):
            (tmp_path / name).symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("without_gcc")
@pytest.mark.parametrize("core", cores(*QUICK))
def test_without_gcc_the_clang_of_ziglang_is_taken_and_named(core: str) -> None:
    check_exact(core)


@pytest.mark.slow
@pytest.mark.usefixtures("without_gcc")
@pytest.mark.parametrize("core", cores(*(name for name in CORES if name not in QUICK)))
def test_clang_of_ziglang_on_every_other_core(core: str) -> None:
    check_exact(core)


def check_exact(core: str) -> None:
    """Bits, counts and stack of a model that copies, so that it calls the library."""
    body = handmade.SUMS.replace(
        b"for (int k = 0; k < 8; ++k) { model->state[k] = 0; }",
        b"memset(model, 0, sizeof *model);",
    )
    body = b"#include <string.h>\n" + body
    report = simulate(handmade.sources(body), handmade.vectors(), core)
    assert report.exact
    assert report.repeatable
    assert 30 < report.step.minimum <= report.step.maximum < 400
    assert report.stack < 200
    assert report.sizes.instance == 32
    assert report.compiler.startswith("ziglang ")
    assert "clang" in report.conditions


@pytest.mark.slow
@pytest.mark.usefixtures("without_gcc")
@pytest.mark.parametrize("core", cores(*QUICK))
def test_a_long_copy_is_no_recursion(core: str) -> None:
    """A memcpy compiled to call itself needs stack in proportion to the copy."""
    body = handmade.INIT + (
        b"#include <string.h>\n"
        b"static uint8_t from[9001], to[9001];\n"
        b"void model_step(model_t *model, const int8_t *features, int8_t *mask)\n"
        b"{ volatile unsigned size = 9001; (void)model; from[9000] = (uint8_t)features[0];\n"
        b"  memcpy(to, from, size); mask[0] = (int8_t)to[9000]; }\n"
    )
    features = np.array([[5] * handmade.VALUES], np.int8)
    masks = np.array([[5] + [0] * 7], np.int8)
    report = simulate(handmade.sources(body), GoldenVectors(features, masks), core, runs=1)
    assert report.exact
    assert report.stack < 200


@pytest.mark.slow
@pytest.mark.usefixtures("without_gcc")
@pytest.mark.parametrize("core", cores(*QUICK))
def test_what_clang_refuses_is_named(core: str) -> None:
    with pytest.raises(GateFailed, match=r"model/model\.c.*error: expected"):
        simulate(handmade.sources(handmade.SUMS + b"int mist"), handmade.vectors(), core)
    golden = handmade.vectors()
    wide = GoldenVectors(golden.features.astype(np.int16), golden.masks)
    with pytest.raises(GateFailed, match="incompatible"):
        simulate(handmade.sources(), wide, core)
    header = handmade.HEADER.replace(b"int32_t state[8];", b"int32_t state[8], arena[2000000];")
    with pytest.raises(GateFailed, match="fits no machine"):
        simulate(handmade.sources(header=header), handmade.vectors(), core)


@pytest.mark.usefixtures("without_gcc")
@pytest.mark.parametrize("core", cores("cortex-m4", "rv32imac"))
def test_without_any_compiler_both_ways_to_one_are_named(
    core: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zig, "available", lambda: False)
    with pytest.raises(ToolMissing, match="ziglang") as caught:
        simulate(handmade.sources(), handmade.vectors(), core)
    assert CORES[core].toolchain.gcc in caught.value.message
    assert "apt install gcc-" in caught.value.hint
    assert "pip install ziglang" in caught.value.hint
    with pytest.raises(ToolMissing, match="ziglang"):
        simulate(handmade.sources(), handmade.vectors(), core, compiler="zig")
