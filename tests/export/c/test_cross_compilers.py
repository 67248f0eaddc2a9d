"""Generated C compiles without a warning for the cores it is for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distill.unet import preset
from export.c.generator import GeneratedC, generate
from tests.export.c.conftest import FileOf
from tests.export.c.support import STRICT, compile_c, write

ARM = "arm-none-eabi-gcc"
RISCV = "riscv64-unknown-elf-gcc"
TARGETS = {
    "Cortex-M0+": (ARM, "-mthumb", "-mcpu=cortex-m0plus"),
    "Cortex-M3": (ARM, "-mthumb", "-mcpu=cortex-m3"),
    "Cortex-M4": (ARM, "-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "Cortex-M33": (ARM, "-mthumb", "-mcpu=cortex-m33"),
    "Cortex-M55": (ARM, "-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard"),
    "Cortex-M55 without its vectors": (
        *(ARM, "-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard"),
        *("-DSORDINO_NO_HELIUM", "-DSORDINO_NO_DSP"),
    ),
    "RV32IMAC": (RISCV, "--specs=picolibc.specs", "-march=rv32imac", "-mabi=ilp32"),
}


def test_it_compiles_for_the_most_common_core(file_of: FileOf, tmp_path: Path) -> None:
    assert_clean("Cortex-M4", generate(file_of(preset("tiny"), "int8")), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("core", TARGETS)
def test_it_compiles_without_a_warning(
    file_of: FileOf, core: str, dtype: str, tmp_path: Path
) -> None:
    assert_clean(core, generate(file_of(preset("tiny"), dtype)), tmp_path)


def assert_clean(core: str, generated: GeneratedC, tmp_path: Path) -> None:
    compiler, *flags = TARGETS[core]
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    write(generated.files, tmp_path)
    compile_c(compiler, tmp_path, *flags, *STRICT, "-O1", "-c", "model.c", "-o", "model.o")
