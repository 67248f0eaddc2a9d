"""The program that times generated C: on this machine, without a connection."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.devices.linux_compiler import Build
from runtime.devices.linux_native import agreement
from runtime.devices.linux_runner import (
    HEADER,
    MARK,
    PROGRAM,
    SOURCE,
    RunnerResults,
    furnish,
    read_results,
    run,
)
from runtime.devices.simulation import GoldenVectors
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime.devices import handmade
from tests.runtime.devices.local_shell import LocalShell, write_program

CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc not installed")


def bench(
    folder: Path,
    sources: dict[str, bytes],
    vectors: GoldenVectors,
    *,
    cpu: int = CORE,
    operators: int = 0,
) -> RunnerResults:
    """Compile and run what a device would be given."""
    furnish(folder, sources, vectors, "model")
    definitions = ("MODEL_PROFILE", f"BENCH_OPERATORS={operators}") if operators else ()
    build = Build(folder, PROGRAM, ("model.c", SOURCE), definitions)
    shell = LocalShell(folder)
    compiled = shell.run(" ".join(["gcc", "-Wall", "-Wextra", "-Werror", *build.arguments()]))
    assert compiled.status == 0, compiled.errors
    return run(
        shell, str(folder), folder / "back", vectors, cpu=cpu, seconds=0.05, operators=operators
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "back").mkdir()
    return tmp_path


def test_every_golden_mask_comes_back_and_steps_are_counted(folder: Path) -> None:
    vectors = handmade.vectors(20)
    results = bench(folder, handmade.sources(), vectors)
    assert agreement(vectors, results) == (True, "")
    assert results.cpu == CORE
    assert not results.emulated
    assert results.steps is not None
    assert results.timed == results.steps.counts.sum() > 100
    assert results.warm_up > 20
    assert results.minimum <= results.steps.percentile(50) * 1.001
    assert results.steps.percentile(100) == pytest.approx(results.maximum, rel=1e-3, abs=1)
    assert results.memory > 10_000
    assert results.clock > 0


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_values_of_every_type(folder: Path, dtype: str) -> None:
    c_type = {"int16": b"int16_t", "float32": b"float"}[dtype]
    header = handmade.HEADER.replace(b"int8_t", c_type)
    body = handmade.INIT + (
        b"void model_step(model_t *m, const T *features, T *mask)\n"
        b"{ (void)m; for (int k = 0; k < 8; ++k) { mask[k] = (T)(features[k] * 3 + k); } }\n"
    ).replace(b"T", c_type).replace(b"model_" + c_type, b"model_t")
    features = np.random.default_rng(0).integers(-999, 999, (7, 8)).astype(dtype)
    vectors = GoldenVectors(features, (features * 3 + np.arange(8)).astype(dtype))
    assert agreement(vectors, bench(folder, {"model.c": body, "model.h": header}, vectors))[0]


def test_a_changed_golden_byte_is_noticed_with_its_place(folder: Path) -> None:
    golden = handmade.vectors()
    masks = golden.masks.copy()
    masks[3, 5] ^= 1
    vectors = GoldenVectors(golden.features, masks)
    matches, told = agreement(vectors, bench(folder, handmade.sources(), vectors))
    assert not matches
    assert told.startswith("frame 3, value 5:")
    assert "1 values differ" in told


@pytest.mark.parametrize(("error", "expected"), [(5e-5, True), (2e-4, False), (np.nan, False)])
def test_floats_are_held_to_a_tolerance(error: float, expected: bool) -> None:
    ones = np.ones((2, 3), np.float32)
    vectors = GoldenVectors(ones, ones)
    content = written(ones + np.float32(error), b"\0" * 16)
    matches, told = agreement(vectors, read_results(content, vectors))
    assert matches is expected
    assert told


def test_operators_are_timed_by_the_hooks_of_their_steps(folder: Path) -> None:
    spin = b"{ for (volatile int k = 0; k < ROUNDS; ++k) { } }"
    body = handmade.HOOKED[: handmade.HOOKED.index(b"#ifdef __riscv")]
    body += b"for (volatile uint32_t k = 0; k < rounds; ++k) { }\n}\n"
    body += handmade.HOOKED[handmade.HOOKED.index(b"void model_step") :]
    sources = handmade.sources(body.replace(b"spin(500)", b"spin(50000)"), handmade.HOOKED_HEADER)
    assert spin not in body
    results = bench(folder, sources, handmade.zeros(3), operators=4)
    assert results.steps is None
    assert results.operators.shape[1] == 4
    medians = np.median(results.operators, axis=0)
    assert medians[0] == medians[2] == 0
    assert medians[3] > 10 * medians[1] > 0


def test_a_core_that_does_not_exist(folder: Path) -> None:
    with pytest.raises(GateUnavailable, match="pin itself") as caught:
        bench(folder, handmade.sources(), handmade.vectors(), cpu=1023)
    assert "--cpu" in caught.value.hint


def test_a_crash_is_told_by_its_signal(folder: Path) -> None:
    body = handmade.INIT + (
        b"void model_step(model_t *m, const int8_t *features, int8_t *mask)\n"
        b"{ (void)m; (void)features; *(volatile int8_t *)0 = *mask; }\n"
    )
    with pytest.raises(GateFailed, match=r"\(signal 11\)"):
        bench(folder, handmade.sources(body), handmade.zeros())


def test_no_space_for_results(folder: Path) -> None:
    (folder / "results.bin").symlink_to("/dev/full")
    with pytest.raises(GateUnavailable, match="is there space left"):
        bench(folder, handmade.sources(), handmade.vectors())


def test_the_program_ends_when_its_files_are_removed(folder: Path) -> None:
    bench(folder, handmade.sources(), handmade.vectors())
    with subprocess.Popen([folder / PROGRAM, str(CORE), "600000"], cwd=folder) as started:
        (folder / "features.bin").rename(folder / "removed")
        try:
            assert started.wait(60) in (101, 105)
        finally:
            started.kill()


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / PROGRAM).write_bytes(b"\x7fELF, of another processor")
    shell, vectors = LocalShell(tmp_path), handmade.vectors()
    with pytest.raises(GateUnavailable, match="cannot start"):
        run(shell, str(tmp_path), tmp_path, vectors, cpu=0, seconds=0.05)
    write_program(tmp_path / PROGRAM, "echo strange; exit 99")
    with pytest.raises(GateUnavailable, match=r"status 99 \(strange\)"):
        run(shell, str(tmp_path), tmp_path, vectors, cpu=0, seconds=0.05)


def test_results_of_an_earlier_run_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    vectors = handmade.vectors()
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "results.bin").write_bytes(written(vectors.masks, b"\0" * 16))
    write_program(tmp_path / PROGRAM, ": > results.bin")
    with pytest.raises(GateFailed, match="incomplete"):
        run(LocalShell(tmp_path), str(tmp_path), tmp_path / "back", vectors, cpu=0, seconds=0.05)


def test_what_is_no_generated_model_is_refused(tmp_path: Path) -> None:
    for sources in ({}, {"model.c": b""}, {"../model.c": b"", "model.h": b""}, {"model.h": b""}):
        with pytest.raises(InputError):
            furnish(tmp_path, sources, handmade.vectors(), "model")


def written(masks: np.ndarray[tuple[int, ...], np.dtype[np.generic]], timings: bytes) -> bytes:
    """results.bin of a run without hooks."""
    header = np.zeros(1, HEADER)
    header["mark"], header["frames"], header["timed"] = MARK, len(masks), 1
    header["mask_bytes"], header["entries"] = masks[0].nbytes, len(timings) // 16
    return header.tobytes() + masks.tobytes() + timings


@given(st.data())
def test_results_cut_anywhere_or_longer_are_refused(data: st.DataObject) -> None:
    vectors = handmade.vectors()
    whole = written(vectors.masks, struct.pack("<4Q", 100, 7, 3000, 2))
    assert agreement(vectors, read_results(whole, vectors))[0]
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(GateFailed, match="incomplete"):
        read_results(whole[:length], vectors)
    with pytest.raises(GateFailed, match="incomplete"):
        read_results(whole + b"\0" * data.draw(st.integers(1, 40)), vectors)
    with pytest.raises(GateFailed, match="incomplete"):
        read_results(b"\0" * 8 + whole[8:], vectors)
    with pytest.raises(GateFailed, match="incomplete"):
        read_results(whole, vectors, operators=5)


@given(st.lists(st.integers(0, 2**36), min_size=1, max_size=60), st.floats(0, 100))
def test_percentiles_of_counted_durations_are_those_of_the_durations(
    durations: list[int], percent: float
) -> None:
    pairs = b"".join(struct.pack("<2Q", lowest_like(value), 1) for value in sorted(durations))
    masks = handmade.vectors().masks
    steps = read_results(written(masks, pairs), handmade.vectors()).steps
    assert steps is not None
    exact = np.percentile(durations, percent, method="inverted_cdf")
    assert steps.percentile(percent) == pytest.approx(float(exact), rel=1 / 1024, abs=0)


def lowest_like(duration: int) -> int:
    """The least duration that the program counts as the same: its upper 11 bits."""
    spare = max(0, duration.bit_length() - 11)
    return duration >> spare << spare
