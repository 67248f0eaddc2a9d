"""The bench firmware itself: written, compiled for many cores, run in QEMU and read by its port."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from runtime.artefact import Artefact
from runtime.bench_cli import bench
from runtime.devices import serial, swo
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
from runtime.devices.bench_session import Patience, Session
from runtime.devices.bench_source import write_bench
from runtime.devices.golden import golden_vectors
from runtime.engines.native import find_compiler
from runtime.figures import Figure, Provenance
from runtime.profiling.backends import Request
from runtime.profiling.records import Reading
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime.devices.bench_models import BODY, write_model
from tests.runtime.devices.qemu_board import built, compiled, needs_qemu, running, started
from tests.runtime.fakes import invoke

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
FRAMES = 12
TICKS_PER_INSTRUCTION = 128 / 40  # -icount shift=7; the simulated board's clock has 25 MHz


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_model(tmp_path_factory.mktemp("sums"))


@pytest.fixture(scope="module")
def folder(artefact: Artefact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench; tests may build in it."""
    return write_bench(artefact, tmp_path_factory.mktemp("bench") / "here", frames=FRAMES).folder


def read(artefact: Artefact, port: str, frames: int = FRAMES) -> Reading:
    ((reading,),) = serial.measure([artefact], Request(address=port, frames=frames)).readings
    return reading


def by_name(reading: Reading) -> dict[str, Figure]:
    return {figure.name.partition(" [")[0]: figure for figure in reading.figures}


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
    with pytest.raises(OSError, match="No space"):
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


# On a simulated board.


@needs_qemu
def test_a_simulated_board_from_port_to_figures(folder: Path, artefact: Artefact) -> None:
    built(folder)
    with running(folder) as board:
        reading = read(artefact, board.port)
        again = read(artefact, board.port)  # the board is still there, and begins anew
        named = serial.measure([artefact], Request(address=f"{board.port}@9600", frames=2))
    assert reading.matches is True
    assert again == reading  # to the tick
    assert named.readings[0][0].matches is True
    figures = by_name(reading)
    assert {figure.provenance for figure in reading.figures} == {Provenance.SIMULATED}
    assert figures["step, median"].unit == "ticks"
    assert "SysTick" in figures["step, median"].tool  # the DWT stands still in QEMU
    assert "cortex-m4 at 25 MHz" in figures["step, median"].conditions
    assert "-O3 -mcpu=cortex-m4" in figures["step, median"].conditions
    # 10 to 17 rounds over 48 features, by the first feature of the frame.
    assert figures["step, greatest"].value > figures["step, least"].value > 0
    instructions = figures["step, greatest"].value / TICKS_PER_INSTRUCTION
    assert 17 * 48 < instructions < 17 * 48 * 12
    assert 0 < figures["stack of a step"].value < 200


@needs_qemu
def test_a_board_with_an_altered_model_is_found_out(artefact: Artefact, tmp_path: Path) -> None:
    """The sources on the board were edited after the bench was written."""
    place = write_bench(artefact, tmp_path / "bench").folder
    source = place / "model" / "model.c"
    source.write_text(source.read_text().replace("^ 0x55", "^ (round_trip(m))"))
    source.write_text(
        source.read_text().replace(
            "void model_step",
            "static int round_trip(const model_t *m) { return m->sum[0] == 21 ? 0x54 : 0x55; }\n"
            "void model_step",
        )
    )
    built(place)
    with running(place) as board:
        reading = read(artefact, board.port, 60)
    assert reading.matches is False
    assert reading.difference.startswith("frame ")


@needs_qemu
def test_a_board_with_another_model_is_refused(
    folder: Path, artefact: Artefact, tmp_path: Path
) -> None:
    other = write_model(tmp_path, BODY.replace("0x55", "0x2a"))
    with running(folder) as board:
        with pytest.raises(InputError, match="runs another model"):
            read(other, board.port)
        assert read(artefact, board.port, 2).matches is True


@needs_qemu
def test_a_simulated_board_is_unplugged(
    folder: Path, artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry = Patience(frame=1.0)
    monkeypatch.setattr(serial, "Session", lambda wire: Session(wire, hurry))
    with running(folder) as board:
        usual = serial.SerialWire.write

        def pull(wire: serial.SerialWire, content: bytes) -> None:
            usual(wire, content)
            pull.messages += 1  # type: ignore[attr-defined]
            if pull.messages == 6:  # type: ignore[attr-defined]
                board.unplug()

        pull.messages = 0  # type: ignore[attr-defined]
        monkeypatch.setattr(serial.SerialWire, "write", pull)
        with pytest.raises(GateUnavailable, match=r"went away|did not answer") as refusal:
            read(artefact, board.port)
    assert refusal.value.exit_code == 3


@needs_qemu
def test_a_counter_that_stands_still_gives_no_cycles(folder: Path, artefact: Artefact) -> None:
    shutil.copytree(folder, copy := folder.with_name("still"), ignore=lambda *_: ["build"])
    with running(copy, "OPTIONS=-DBENCH_COUNTER=BENCH_COUNTER_DWT") as board:
        reading = read(artefact, board.port, 2)
    assert reading.matches is True
    assert set(by_name(reading)) == {"stack of a step"}
    lacking = {each.reason for each in reading.unavailable}
    assert lacking == {"DWT cycle counter: the counter does not run"}


@needs_qemu
def test_operators_are_counted_in_a_build_of_their_own(folder: Path, artefact: Artefact) -> None:
    with running(folder, "PROFILE=1") as board:
        reading = read(artefact, board.port)
    assert reading.matches is True
    step = by_name(reading)["step with hooks, median"].value
    assert [(row.step, row.kind) for row in reading.operators] == [(0, "CONV_2D"), (2, "TANH")]
    assert 0.9 * step < sum(row.value or 0 for row in reading.operators) < step


@needs_qemu
def test_a_stack_that_is_too_small_is_told(folder: Path, artefact: Artefact) -> None:
    shutil.copytree(folder, copy := folder.with_name("little"), ignore=lambda *_: ["build"])
    with (
        running(copy, "OPTIONS=-DBENCH_STACK_BYTES=96") as board,
        pytest.raises(GateFailed, match="more stack than BENCH_STACK_BYTES"),
    ):
        read(artefact, board.port, 2)


# Trace.


def packets(content: bytes) -> bytes:
    """Bytes as writes to port 0, a byte each, with timestamps and synchronisation in between."""
    stream = bytearray()
    for number, byte in enumerate(content):
        stream += bytes([0x01, byte])
        if number % 97 == 0:
            stream += bytes(5) + b"\x80" + b"\xc0\x81\x01"
    return bytes(stream)


@pytest.fixture(scope="module")
def sent(folder: Path, artefact: Artefact) -> bytes:
    """Two rounds of what the firmware sends with BENCH_OUTPUT_ONLY, from QEMU's UART."""
    if not shutil.which("qemu-system-arm") or not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("QEMU or the compiler is not installed")
    built(folder, "OUTPUT_ONLY=1")
    unpacker, whole = Unpacker(), b""
    with running(folder, "OUTPUT_ONLY=1") as board, serial.SerialWire(board.port, 115_200) as wire:
        hellos = 0
        while hellos < 3:
            received = wire.read(10.0)
            assert received
            whole += received
            hellos += sum(message[:1] == b"h" for message in unpacker.feed(received))
    return whole


@needs_qemu
def test_a_board_that_only_sends_is_heard_on_its_port(
    sent: bytes, folder: Path, artefact: Artefact
) -> None:
    with running(folder, "OUTPUT_ONLY=1") as board:
        reading = read(artefact, board.port)
    assert reading.matches is True
    assert f"{FRAMES} frames" in reading.figures[0].conditions


def traced(artefact: Artefact, address: str) -> Reading:
    ((reading,),) = swo.measure([artefact], Request(address=address)).readings
    return reading


def test_a_trace_in_a_file(sent: bytes, artefact: Artefact, tmp_path: Path) -> None:
    (tmp_path / "trace.bin").write_bytes(packets(sent))
    reading = traced(artefact, str(tmp_path / "trace.bin"))
    assert reading.matches is True
    assert reading.backend == "swo"
    assert reading.figures[0].name == f"step, median [swo {tmp_path / 'trace.bin'}]"


def test_a_trace_with_losses_is_completed_by_the_next_round(
    sent: bytes, artefact: Artefact, tmp_path: Path
) -> None:
    trace = bytearray(packets(sent))
    for place in (1500, 1700, 2500):
        del trace[place : place + 3]
    (tmp_path / "trace.bin").write_bytes(b"\x70garbage" + bytes(trace))
    assert traced(artefact, str(tmp_path / "trace.bin")).matches is True


def test_a_trace_that_ends_too_early(sent: bytes, artefact: Artefact, tmp_path: Path) -> None:
    path = tmp_path / "trace.bin"
    path.write_bytes(packets(sent[:700]))
    with pytest.raises(GateUnavailable, match=rf"Of {FRAMES} frames \d+ arrived"):
        traced(artefact, str(path))
    path.write_bytes(b"nothing of ours" * 9)
    with pytest.raises(GateUnavailable, match=r"Nothing answers|none of them from a bench"):
        traced(artefact, str(path))


def test_a_trace_from_a_server_and_from_a_fifo(
    sent: bytes, artefact: Artefact, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=_hand_out, args=(server, packets(sent)))
        thread.start()
        reading = traced(artefact, f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert reading.matches is True
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(packets(sent),))
    writer.start()
    assert traced(artefact, str(tmp_path / "fifo")).matches is True
    writer.join()


def _hand_out(server: socket.socket, content: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        for start in range(0, len(content), 1000):
            connection.sendall(content[start : start + 1000])


def test_a_trace_of_another_model_or_other_features(
    sent: bytes, artefact: Artefact, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.bin"
    trace.write_bytes(packets(sent))
    other = write_model(tmp_path / "other", BODY.replace("0x55", "0x2a"))
    with pytest.raises(InputError, match="runs another model"):
        traced(other, str(trace))
    shifted = artefact.sidecar.contract.model_copy(update={"scale": 0.5})
    changed = artefact.model_copy(
        update={"sidecar": artefact.sidecar.model_copy(update={"contract": shifted})}
    )
    with pytest.raises(InputError, match="other features than the golden ones"):
        traced(changed, str(trace))


@pytest.mark.parametrize("address", ["/nowhere/trace.bin", "127.0.0.1:1", "127.0.0.1:70000"])
def test_no_trace(artefact: Artefact, address: str) -> None:
    with pytest.raises(GateUnavailable) as refusal:
        traced(artefact, address)
    assert refusal.value.hint


def test_no_address_and_a_folder(artefact: Artefact, tmp_path: Path) -> None:
    for address in ("", str(tmp_path)):
        with pytest.raises(InputError):
            traced(artefact, address)


# Other cores, slow.


@pytest.mark.slow
@needs_qemu
@pytest.mark.parametrize(
    ("options", "core"),
    [
        (("BOARD=mps3-an547",), "cortex-m55"),
        # An M4 executes the code for M0, which does not look for a DWT.
        (("CORE_mps2-an386=-mcpu=cortex-m0 -mthumb -mfloat-abi=soft",), "cortex-m4"),
    ],
)
def test_other_boards(
    artefact: Artefact, tmp_path: Path, options: tuple[str, ...], core: str
) -> None:
    place = write_bench(artefact, tmp_path / "bench").folder
    built(place, *options)
    with running(place, *options) as board:
        reading = read(artefact, board.port)
    assert reading.matches is True
    assert f"on a simulated {core} " in reading.figures[0].conditions
    assert "SysTick" in reading.figures[0].tool
    assert by_name(reading)["stack of a step"].value < 400


RISCV_BOARD = """\
#include "bench.h"
#define UART ((volatile uint8_t *)0x10000000u) /* a 16550 */
extern uint32_t board_stack_top[], board_zero_start[], board_zero_end[];
uint32_t bench_clock_hz(void) { return 10000000u; }
void bench_putc(uint8_t byte) { while ((UART[5] & 0x20) == 0) { } UART[0] = byte; }
uint8_t bench_getc(void) { while ((UART[5] & 1) == 0) { } return UART[0]; }
__attribute__((used, noreturn)) static void start(void)
{
    for (volatile uint32_t *word = board_zero_start; word < board_zero_end; ++word) { *word = 0; }
    bench_main();
    for (;;) { }
}
__attribute__((naked, section(".vectors"), used)) void reset(void)
{
    __asm volatile("la sp, board_stack_top\\n\\tj start");
}
"""
RISCV_LAYOUT = """\
ENTRY(reset)
SECTIONS
{
    . = 0x80000000;
    .text : { *(.vectors) *(.text .text.* .rodata .rodata.* .srodata .srodata.*) }
    .data : ALIGN(16) { *(.data .data.* .sdata .sdata.*) }
    .bss : ALIGN(16) { board_zero_start = .; *(.sbss .sbss.* .bss .bss.* COMMON) }
    . = ALIGN(16);
    board_zero_end = .;
    . += 0x4000;
    board_stack_top = .;
    /DISCARD/ : { *(.comment .note.* .eh_frame* .riscv.attributes) }
}
"""
RISCV_TOOLS = ("riscv64-unknown-elf-gcc", "qemu-system-riscv32")


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, RISCV_TOOLS)), reason="no tools for RISC-V")
def test_a_risc_v_board(folder: Path, artefact: Artefact, tmp_path: Path) -> None:
    """mcycle, a stack of its own and interrupts on RV32; under -icount a cycle is a ns."""
    (tmp_path / "board.c").write_text(RISCV_BOARD)
    (tmp_path / "board.ld").write_text(RISCV_LAYOUT)
    flags = ["--specs=picolibc.specs", "-march=rv32imac", "-mabi=ilp32", "-mcmodel=medany", "-O2"]
    flags += [
        "-mno-relax",
        "-DBENCH_SIMULATED",
        "-I.",
        "-Imodel",
        "-nostartfiles",
        "-Wl,--no-warn-rwx-segments",
    ]
    flags += ["-T", str(tmp_path / "board.ld")]
    files = ["bench.c", "bench_core.c", "model/model.c", str(tmp_path / "board.c")]
    target = ["-o", str(tmp_path / "bench.elf")]
    compiled([RISCV_TOOLS[0], *flags, *files, *target], folder)
    command = [RISCV_TOOLS[1], "-M", "virt", "-bios", "none", "-display", "none", "-monitor"]
    command += ["none", "-cpu", "rv32,f=false,d=false", "-serial", "pty"]
    command += ["-icount", "shift=0,align=off,sleep=off", "-kernel"]
    with started([*command, str(tmp_path / "bench.elf")]) as board:
        reading = read(artefact, board.port)
    assert reading.matches is True
    assert reading.figures[0].tool == "bench firmware, mcycle"
    assert "simulated rv32imac" in reading.figures[0].conditions
    assert 0 <= by_name(reading)["stack of a step"].value < 200
