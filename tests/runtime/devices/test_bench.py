"""The bench firmware itself: written, compiled for many cores, run in QEMU and read by its port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from runtime.artefact import Artefact
from runtime.bench_cli import bench
from runtime.devices.bench_protocol import (
    Hello,
    Problem,
    Unpacker,
    answer_of,
    ask_frame,
    ask_hello,
    frame,
    model_prefix,
)
from runtime.devices.bench_source import write_bench
from runtime.devices.golden import golden_vectors
from runtime.engines.native import find_compiler
from targets.errors import InputError
from tests.runtime.devices.bench_models import write_model
from tests.runtime.devices.qemu_board import compiled
from tests.runtime.fakes import invoke

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
FRAMES = 12


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_model(tmp_path_factory.mktemp("sums"))


@pytest.fixture(scope="module")
def folder(artefact: Artefact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench; tests may build in it."""
    return write_bench(artefact, tmp_path_factory.mktemp("bench") / "here", frames=FRAMES).folder


# Writing.


def test_a_bench_has_all_sources_and_the_hash_of_its_model(
    folder: Path, artefact: Artefact
) -> None:
    header = (folder / "bench_model.h").read_text()
    prefix = model_prefix(artefact.sidecar.model.sha256)
    assert ", ".join(f"0x{byte:02x}" for byte in prefix) in header
    assert artefact.sidecar.model.sha256 in header
    assert (folder / "model" / "model.c").read_bytes() == artefact.path.read_bytes()
    assert "@" not in (folder / "Makefile").read_text().replace("$@", "").replace("\t@", "")
    assert "model/model.c" in (folder / "README.md").read_text()
    record = json.loads((folder / "bench.json").read_bytes())
    written = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {*record["files"], "bench.json"} == {w for w in written if not w.startswith("build/")}


def test_a_bench_is_replaced_and_nothing_else_is(artefact: Artefact, tmp_path: Path) -> None:
    place = tmp_path / "bench"
    place.mkdir()
    write_bench(artefact, place, frames=1)  # an empty folder
    (place / "build").mkdir()
    (place / "build" / "bench.elf").write_text("old")
    write_bench(artefact, place, frames=2)
    assert not (place / "build").exists()
    assert "BENCH_FRAMES 2" in (place / "bench_model.h").read_text()
    (place / "main.c").write_text("int main(void);")
    with pytest.raises(InputError, match=r"has main\.c, which is not of a bench"):
        write_bench(artefact, place)
    (place / "main.c").unlink()
    (place / "bench.c").write_text("/* mine */")
    with pytest.raises(InputError, match=r"bench\.c was changed"):
        write_bench(artefact, place)
    assert (place / "bench.c").read_text() == "/* mine */"
    assert os.listdir(tmp_path) == ["bench"]


def test_places_that_are_none(artefact: Artefact, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        write_bench(artefact, tmp_path / "no" / "bench")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_bench(artefact, tmp_path / "file")
    other = artefact.model_copy(update={"path": artefact.path.with_suffix(".onnx")})
    with pytest.raises(InputError, match="is not C"):
        write_bench(other, tmp_path / "bench")
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_that_is_full_leaves_what_was(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_bench(artefact, tmp_path / "bench", frames=1).folder
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    usual = os.rename

    def fail(source: Path, target: Path) -> None:
        if Path(source).suffix == ".part":
            raise OSError(28, "No space left on device")
        usual(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(InputError, match=r"bench cannot be written \(no space left on device\)"):
        write_bench(artefact, place, frames=2)
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before
    assert os.listdir(tmp_path) == ["bench"]


def test_the_command(artefact: Artefact, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "bench"
    outcome = invoke(capfd, bench, artefact.path.parent, "-o", place, "--frames", 3)
    assert outcome.status == 0
    assert "README.md" in outcome.out
    outcome = invoke(capfd, bench, artefact.path.parent, "-o", place, "--json")
    assert json.loads(outcome.out)["model"] == artefact.sidecar.model.sha256
    (place / "main.c").write_text("")
    outcome = invoke(capfd, bench, artefact.path.parent, "-o", place)
    assert outcome.status == 2
    assert "main.c" in outcome.err


# Compiling.

ARM_CORES = {
    "m0": "-mcpu=cortex-m0",
    "m3": "-mcpu=cortex-m3",
    "m7": "-mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16",
    "m23": "-mcpu=cortex-m23",
    "m33": "-mcpu=cortex-m33",
    "m55": "-mcpu=cortex-m55 -mfloat-abi=hard",
}
SOURCES = ("bench.c", "bench_core.c", "bench_itm.c")
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-c", "-I.", "-Imodel")


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no compiler for Arm")
@pytest.mark.parametrize("core", ARM_CORES)
def test_sources_compile_for_cortex_m(folder: Path, core: str, tmp_path: Path) -> None:
    flags = ["-mthumb", *ARM_CORES[core].split()]
    for number, source in enumerate(SOURCES):
        target = ["-o", str(tmp_path / f"{number}.o"), source]
        compiled(["arm-none-eabi-gcc", *flags, *STRICT, *target], folder)


@pytest.mark.skipif(not shutil.which("riscv64-unknown-elf-gcc"), reason="no compiler for RISC-V")
def test_sources_compile_for_risc_v(folder: Path, tmp_path: Path) -> None:
    flags = ["--specs=picolibc.specs", "-march=rv32imac", "-mabi=ilp32"]
    for source in SOURCES[:2]:
        target = ["-o", str(tmp_path / "out.o"), source]
        compiled(["riscv64-unknown-elf-gcc", *flags, *STRICT, *target], folder)


def test_a_core_that_is_not_known_needs_a_counter(folder: Path, tmp_path: Path) -> None:
    command = [str(find_compiler()), "-c", "-I.", "-Imodel", "-o", str(tmp_path / "out.o")]
    refused = subprocess.run(
        [*command, "bench_core.c"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "supply bench_counter" in refused.stderr
    own = "-DBENCH_COUNTER=BENCH_COUNTER_OWN"
    compiled([*command, own, "bench_core.c"], folder)


# The firmware's own half of the protocol, as a program of this machine under sanitizers.

HOST_BOARD = """\
#include <stdio.h>
#include <stdlib.h>
#include "bench.h"
void bench_putc(uint8_t byte) { putchar(byte); }
uint8_t bench_getc(void)
{
    const int byte = getchar();
    if (byte == EOF) { fflush(stdout); exit(0); }
    return (uint8_t)byte;
}
uint32_t bench_counter(void) { static uint32_t calls; return calls += 5; }
int main(void) { bench_main(); return 0; }
"""


@pytest.fixture(scope="module")
def program(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bench, reading standard input and writing standard output."""
    place = tmp_path_factory.mktemp("program")
    (place / "board.c").write_text(HOST_BOARD)
    options = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    names = ("bench.c", "bench_core.c", "model/model.c")
    command = [
        str(find_compiler()),
        *options,
        "-DBENCH_COUNTER=BENCH_COUNTER_OWN",
        "-I.",
        "-Imodel",
    ]
    made = subprocess.run(
        [*command, *names, str(place / "board.c"), "-o", str(place / "board")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if "sanitize" in made.stderr or "asan" in made.stderr:
        pytest.skip("no sanitizers")
    assert made.returncode == 0, made.stderr
    return place / "board"


def said(program: Path, heard: bytes) -> list[object]:
    done = subprocess.run([program], input=heard, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return [answer_of(message) for message in Unpacker().feed(done.stdout)]


def test_the_firmware_answers_once_for_every_message(program: Path, artefact: Artefact) -> None:
    vectors = golden_vectors(artefact, 3)
    frames = [ask_frame(9, index, vectors.features[index].tobytes()) for index in range(3)]
    heard = [
        *(frames[0], ask_hello(9), frames[0], frames[0], frames[2], frames[1]),
        *(ask_frame(8, 2, b"x" * 48), ask_frame(9, 2, b"short"), frame(b"?" * 20)),
        *(frame(b"damaged")[:-3] + b"\x01\0", frames[2], ask_frame(9, 3, b"y" * 3000)),
    ]
    first, hello, *rest = said(program, b"".join(heard))
    assert first == Problem(9, 3)
    assert isinstance(hello, Hello)
    assert hello.model == model_prefix(artefact.sidecar.model.sha256)
    assert (hello.architecture, hello.counter) == (0, 4)
    assert (hello.feature_bytes, hello.mask_bytes, hello.clock_hz) == (48, 32, 0)
    masks = {0: vectors.masks[0], 1: vectors.masks[0], 3: vectors.masks[1], 8: vectors.masks[2]}
    for place, mask in masks.items():
        answer = rest[place]
        assert getattr(answer, "mask", None) == mask.tobytes()
        assert getattr(answer, "stack", 0) is None
    problems = {place: getattr(a, "number", None) for place, a in enumerate(rest)}
    assert {place: n for place, n in problems.items() if n} == {2: 4, 4: 3, 5: 2, 6: 6, 7: 1, 9: 1}


def test_noise_does_not_unsettle_the_firmware(program: Path) -> None:
    """Whatever comes before: the last hello is answered."""
    random = np.random.default_rng(0)
    heard = b""
    for _ in range(200):
        kind = random.integers(0, 3)
        noise = random.integers(0, 256 if kind else 3, random.integers(1, 400), dtype=np.uint8)
        message = bytearray(ask_frame(1, 0, noise.tobytes()))
        if kind == 2:
            message[int(random.integers(0, len(message)))] ^= int(random.integers(1, 256))
        heard += noise.tobytes() if kind == 0 else bytes(message)
    answers = said(program, heard + b"\0" + ask_hello(77))
    assert isinstance(answers[-1], Hello)
    assert answers[-1].session == 77
