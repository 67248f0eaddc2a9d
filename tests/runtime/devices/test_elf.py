"""Sizes of sections, read from the file itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.devices.elf import section_sizes
from targets.errors import GateUnavailable

GCC = "arm-none-eabi-gcc"
SOURCE = """
const char table[100] = {1};
int started[7] = {1};
int zeroed[30];
int main(void) { return table[0] + started[0] + zeroed[0]; }
"""
needs_gcc = pytest.mark.skipif(not shutil.which(GCC), reason=f"{GCC} is not installed")


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elf")
    (folder / "main.c").write_text(SOURCE)
    command = [GCC, "-mcpu=cortex-m4", "-mthumb", "-nostdlib", "-Wl,-e,main", "main.c"]
    subprocess.run([*command, "-o", "main.elf"], cwd=folder, check=True, capture_output=True)
    return folder / "main.elf"


@needs_gcc
def test_sizes_are_those_of_the_program_size(linked: Path) -> None:
    program = GCC.replace("gcc", "size")
    told = subprocess.run([program, "-A", linked], capture_output=True, text=True, check=True)
    expected = {n: int(s) for n, s in re.findall(r"^(\.\S+)\s+(\d+)", told.stdout, re.MULTILINE)}
    sizes = section_sizes(linked.read_bytes())
    assert {name: sizes[name] for name in expected} == expected
    assert (sizes[".rodata"], sizes[".data"], sizes[".bss"]) == (100, 28, 120)


@needs_gcc
def test_a_file_cut_short_is_refused(linked: Path) -> None:
    content = linked.read_bytes()
    for length in (0, 10, 60, len(content) - 100):
        with pytest.raises(GateUnavailable, match="cannot be read"):
            section_sizes(content[:length])


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(content: bytes, begun: bool) -> None:
    firmware = b"\x7fELF\x01\x01" + content if begun else content
    try:
        sizes = section_sizes(firmware)
    except GateUnavailable:
        return
    assert all(size >= 0 for size in sizes.values())
