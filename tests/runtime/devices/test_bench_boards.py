"""The bench firmware on simulated boards, read by its port."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.artefact import Artefact
from runtime.devices import serial
from runtime.devices.bench_session import Patience, Session
from runtime.devices.bench_source import write_bench
from runtime.engines.native import find_compiler
from runtime.figures import Figure, Provenance
from runtime.profiling.backends import Request
from runtime.profiling.records import Reading
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime.devices.bench_models import BODY, write_model
from tests.runtime.devices.qemu_board import built, compiled, needs_qemu, running, started

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
