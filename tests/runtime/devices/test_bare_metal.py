"""Simulated cores: bits, instruction counts, stack, and what happens when something is missing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from runtime.devices.bare_metal import simulate
from runtime.devices.children import ToolMissing, run_tool
from runtime.devices.cores import CORES
from runtime.devices.simulation import GoldenVectors, OperatorLabel
from runtime.figures import Provenance
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime.devices import handmade

EVERY_CORE = handmade.simulated(*CORES)
ONE_CORE = handmade.simulated("cortex-m4")
# Instructions that can be counted by reading: `rounds` of two, three to enter and two to leave.
LOOP_ARM = b"""
__attribute__((naked)) void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    __asm volatile(".syntax unified\\n"
                   "ldrb r3, [r1]\\n lsls r3, #%d\\n adds r3, #1\\n"
                   "1: subs r3, #1\\n bne 1b\\n"
                   "bx lr");
}
"""
LOOP_RISCV = b"""
__attribute__((naked)) void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    __asm volatile("lbu a3, 0(a1)\\n slli a3, a3, %d\\n addi a3, a3, 1\\n"
                   "1: addi a3, a3, -1\\n bnez a3, 1b\\n"
                   "ret");
}
"""


@pytest.mark.parametrize("core", EVERY_CORE)
def test_handmade_model_is_exact_on_every_core(core: str) -> None:
    report = simulate(handmade.sources(), handmade.vectors(), core)
    assert report.exact
    assert report.repeatable
    assert report.provenance is Provenance.SIMULATED
    assert 30 < report.step.minimum <= report.step.median <= report.step.maximum < 400
    assert report.sizes.instance == 32
    assert report.sizes.text > 0
    assert CORES[core].toolchain.prefix in report.compiler
    assert CORES[core].toolchain.simulator in report.simulator


@pytest.mark.parametrize("core", EVERY_CORE)
def test_counter_counts_a_loop_of_known_length_to_the_instruction(core: str) -> None:
    rounds = [0, 1, 2, 3, 4, 5, 64, 127]
    assert loop_counts(core, rounds, 0) == [4 + 2 * (value + 1) for value in rounds]


@pytest.mark.parametrize("core", handmade.simulated("cortex-m4", "rv32imac"))
def test_counter_does_not_wrap_in_a_long_step(core: str) -> None:
    assert loop_counts(core, [127], 17) == [4 + 2 * ((127 << 17) + 1)]


def loop_counts(core: str, rounds: list[int], shift: int) -> list[int]:
    """Instructions of a step of 4 instructions and a loop of 2 · (rounds · 2^shift + 1)."""
    features = np.zeros((len(rounds), handmade.VALUES), np.int8)
    features[:, 0] = rounds
    loop = LOOP_RISCV if core.startswith("rv") else LOOP_ARM
    sources = handmade.sources(handmade.INIT + loop % shift)
    return list(simulate(sources, GoldenVectors(features, features * 0), core, runs=1).steps)


@pytest.mark.parametrize("core", handmade.simulated("cortex-m0", "cortex-m55"))
@pytest.mark.parametrize("words", [25, 400])
def test_stack_of_a_function_with_a_known_frame(core: str, words: int) -> None:
    body = b"""
__attribute__((naked)) void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    __asm volatile(".syntax unified\\n"
                   "ldr r3, =%d\\n"
                   "1: push {r0}\\n subs r3, #1\\n bne 1b\\n"
                   "ldr r3, =%d\\n add sp, r3\\n bx lr\\n .ltorg");
}
"""
    sources = handmade.sources(handmade.INIT + body % (words, 4 * words))
    assert simulate(sources, handmade.zeros(), core, runs=1).stack == 4 * words


@pytest.mark.parametrize("core", ONE_CORE)
def test_stack_that_does_not_suffice_is_noticed(core: str) -> None:
    body = b"""
void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    volatile int8_t large[40000];
    (void)model;
    for (int k = 0; k < 40000; ++k) { large[k] = features[0]; }
    mask[0] = large[39999];
}
"""
    with pytest.raises(GateFailed, match=r"stack .* is too small"):
        simulate(handmade.sources(handmade.INIT + body), handmade.zeros(), core)


@pytest.mark.parametrize("core", ONE_CORE)
def test_a_changed_golden_byte_is_reported_with_its_place(core: str) -> None:
    golden = handmade.vectors()
    masks = golden.masks.copy()
    masks[3, 5] ^= 1
    report = simulate(handmade.sources(), GoldenVectors(golden.features, masks), core, runs=1)
    assert not report.exact
    assert report.difference is not None
    assert (report.difference.frame, report.difference.value) == (3, 5)
    assert report.difference.differing == 1
    assert report.difference.largest == 1
    assert report.difference.actual == golden.masks[3, 5]


@pytest.mark.parametrize("core", ONE_CORE)
def test_a_changed_weight_is_reported_from_its_first_frame(core: str) -> None:
    golden = handmade.vectors()
    changed = handmade.SUMS.replace(b"{1, -2, 3,", b"{1, -2, 4,")
    report = simulate(handmade.sources(changed), golden, core, runs=1)
    assert report.difference is not None
    first = int(np.flatnonzero(golden.features[:, 2])[0])
    assert (report.difference.frame, report.difference.value) == (first, 2)


@pytest.mark.parametrize("core", ONE_CORE)
def test_constants_and_states_are_told_apart(core: str) -> None:
    body = (
        handmade.INIT
        + b"""
static const int8_t table[1000] = {1, 2, 3};
static int32_t counters[50];
static int32_t started[30] = {7};
void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    const int k = features[0];
    (void)model;
    mask[0] = (int8_t)(table[k + 128] + counters[k & 31]++ + started[k & 15]++);
}
"""
    )
    sizes = simulate(handmade.sources(body), handmade.zeros(), core, runs=1).sizes
    assert (sizes.rodata, sizes.bss, sizes.data) == (1000, 200, 120)
    assert sizes.flash == sizes.text + 1000 + 120 + sizes.library_code
    assert sizes.ram == 200 + 120 + 32 + sizes.library_data


@pytest.mark.parametrize("core", ONE_CORE)
def test_library_functions_are_counted_as_such(core: str) -> None:
    body = (
        handmade.INIT
        + b"""
void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    const int64_t big = (int64_t)features[0] << 33;
    (void)model;
    mask[0] = (int8_t)(big / (features[1] | 1));
}
"""
    )
    report = simulate(handmade.sources(body), handmade.zeros(), core, runs=1)
    assert report.sizes.library_code > 200


def test_small_model_of_cortex_m0_runs_on_the_microbit_and_a_large_one_elsewhere() -> None:
    if not handmade.installed("cortex-m0"):
        pytest.skip("no Arm compiler or simulator")
    small = simulate(handmade.sources(), handmade.vectors(), "cortex-m0", runs=1)
    header = handmade.HEADER.replace(b"int32_t state[8];", b"int32_t state[8], arena[8000];")
    large = simulate(handmade.sources(header=header), handmade.vectors(), "cortex-m0", runs=1)
    assert (small.machine, large.machine) == ("microbit", "mps2-an385")
    assert large.exact
    assert large.steps == small.steps


@pytest.mark.parametrize("core", ONE_CORE)
def test_a_model_too_large_for_every_machine_is_refused(core: str) -> None:
    header = handmade.HEADER.replace(b"int32_t state[8];", b"int32_t state[8], arena[2000000];")
    with pytest.raises(GateFailed, match="fits no machine"):
        simulate(handmade.sources(header=header), handmade.vectors(), core)


@pytest.mark.parametrize("core", ONE_CORE)
def test_sources_that_do_not_compile_name_the_first_error(core: str) -> None:
    with pytest.raises(GateFailed, match=r"model/model\.c.*error: expected"):
        simulate(handmade.sources(handmade.SUMS + b"int mist"), handmade.vectors(), core)


@pytest.mark.parametrize("core", ONE_CORE)
def test_values_of_another_type_do_not_compile(core: str) -> None:
    golden = handmade.vectors()
    wide = GoldenVectors(golden.features.astype(np.int16), golden.masks)
    with pytest.raises(GateFailed, match="incompatible"):
        simulate(handmade.sources(), wide, core)


@pytest.mark.parametrize("core", handmade.simulated("cortex-m33", "rv32imac"))
def test_a_fault_is_reported(core: str) -> None:
    body = (
        handmade.INIT
        + b"""
void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    (void)model; (void)features; (void)mask;
    __builtin_trap();
}
"""
    )
    with pytest.raises(GateFailed, match="fault"):
        simulate(handmade.sources(body), handmade.zeros(), core)


@pytest.mark.parametrize("core", ONE_CORE)
def test_an_endless_step_ends_and_nothing_remains(
    core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    body = (
        handmade.INIT
        + b"""
void model_step(model_t *model, const int8_t *features, int8_t *mask)
{
    (void)model; (void)features; (void)mask;
    for (;;) { __asm volatile(""); }
}
"""
    )
    with pytest.raises(GateUnavailable, match="did not end within 1 s"):
        simulate(handmade.sources(body), handmade.zeros(), core, timeout=1.0)
    assert not list(tmp_path.iterdir())
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in running.stdout


def test_what_a_tool_started_ends_with_it(tmp_path: Path) -> None:
    script = "sleep 61.25 & echo $! > pid; wait"
    with pytest.raises(GateUnavailable):
        run_tool(["sh", "-c", script], tmp_path, 0.5)
    pid = int((tmp_path / "pid").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


@pytest.mark.parametrize("core", ["cortex-m4", "rv32imac"])
def test_missing_tools_are_named_with_how_to_get_them(
    core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="not installed") as caught:
        simulate(handmade.sources(), handmade.vectors(), core)
    assert caught.value.exit_code == 3
    assert "apt install gcc-" in caught.value.hint


def test_what_is_no_generated_model_is_refused() -> None:
    for sources in ({}, {"model.c": b""}, {"../model.c": b"", "model.h": b""}, {"model.h": b""}):
        with pytest.raises(InputError):
            simulate(sources, handmade.vectors(), "cortex-m4")
    with pytest.raises(InputError, match="cortex-m9"):
        simulate(handmade.sources(), handmade.vectors(), "cortex-m9")
    with pytest.raises(InputError, match="-O9"):
        simulate(handmade.sources(), handmade.vectors(), "cortex-m4", optimisation="-O9")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 runs"):
        simulate(handmade.sources(), handmade.vectors(), "cortex-m4", runs=0)


def test_golden_vectors_must_be_frames_of_stored_values() -> None:
    frames = np.zeros((2, 3), np.int8)
    for features, masks in (
        (frames[0], frames),
        (frames.astype(np.float64), frames),
        (frames, frames[:1]),
        (frames[:0], frames[:0]),
    ):
        with pytest.raises(InputError):
            GoldenVectors(features, masks)


@pytest.mark.parametrize("core", handmade.simulated("cortex-m0", "cortex-m4", "rv32imac"))
def test_operators_are_counted_by_the_hooks_of_their_steps(core: str) -> None:
    labels = [
        OperatorLabel(step=1, kind="CONV_2D", output="first", macs=25),
        OperatorLabel(step=3, kind="ADD", output="second"),
    ]
    sources = handmade.sources(handmade.HOOKED, handmade.HOOKED_HEADER)
    report = simulate(sources, handmade.zeros(3), core, operators=labels)
    first, second = report.operators
    # The constant that a loop needs costs an instruction or two as well.
    assert 100 <= first.instructions.median <= 103
    assert 1000 <= second.instructions.median <= 1003
    assert (second.step, second.kind, second.output) == (3, "ADD", "second")
    assert first.per_mac == first.instructions.median / 25
    assert second.per_mac is None
    assert report.step.median - first.instructions.median - second.instructions.median < 20


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang not installed")
@pytest.mark.parametrize("core", handmade.simulated("cortex-m0", "cortex-m55", "rv32imac"))
def test_clang_compiles_the_model_as_well(core: str) -> None:
    body = handmade.SUMS.replace(b"#include", b"#include <string.h>\n#include", 1)
    report = simulate(handmade.sources(body), handmade.vectors(), core, compiler="clang", runs=1)
    assert report.exact
    assert "clang" in report.compiler
