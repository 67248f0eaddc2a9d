"""Generated C on a simulated core: bit by bit, to the instruction.

The sources are compiled for the core, linked with a small bench (``firmware/``) and run in QEMU
with ``-icount``: simulated time then advances by a fixed amount with every instruction, and a timer
of the simulated board counts instructions. The bench reads features from the host and writes masks,
timer differences and stack depths back; everything is compared here. docs/simulation.md explains.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from runtime.devices.children import find_tool, run_tool
from runtime.devices.compiling import CompilerName, Optimisation
from runtime.devices.cores import Core, Machine, core_named
from runtime.devices.firmware import Call, Firmware, build, furnish
from runtime.devices.simulation import (
    Count,
    GoldenVectors,
    OperatorCount,
    OperatorLabel,
    SimulationReport,
    compare,
)
from runtime.devices.toolchain import cross_compiler
from targets.errors import GateFailed, GateUnavailable, InputError

VERSION = re.compile(r"version (\d+(?:\.\d+)+)")
CALIBRATION_WORDS = 4
SPIN_ROUNDS = 1000  # of the shorter calibration loop, two instructions each
STATUSES = {
    100: "the processor took a fault",
    101: "the bench could not open its files",
    102: "the bench could not read its features",
    103: "the bench could not write its results",
    104: "the stack of the bench is too small",
}


@dataclass(frozen=True, eq=False)
class _Results:
    """What one run wrote, in instructions."""

    steps: tuple[int, ...]
    operators: npt.NDArray[np.int64]  # [frames, operators]
    stacks: tuple[int, ...]
    masks: npt.NDArray[Any]  # [frames, masks]
    overhead: int

    def same(self, other: _Results) -> bool:
        return self.steps == other.steps and self.masks.tobytes() == other.masks.tobytes()


def simulate(
    sources: Mapping[str, bytes],
    vectors: GoldenVectors,
    core: str,
    *,
    call: Call = "step",
    operators: Sequence[OperatorLabel] = (),
    compiler: CompilerName | None = None,
    optimisation: Optimisation = "-O3",
    runs: int = 2,
    timeout: float = 120.0,
) -> SimulationReport:
    """Build generated C for ``core`` (see ``CORES``), run it over golden frames and measure.

    ``sources`` are the generated files by name. ``call`` says what a frame is: a step of the
    network, or a hop of samples through the audio path around it. ``operators`` label the steps
    that call the profiling hook; without them no operator is profiled. Without ``compiler`` GCC is
    taken, or the clang of the package ziglang where GCC is missing.

    The model is run ``runs`` times, each of them ``timeout`` seconds of this machine at most.
    Operators are counted in a build of their own, because hooks change what a compiler makes of
    the code around them.

    A mask that differs is reported, not raised. Raises ToolMissing where compiler or simulator are
    not installed; GateFailed when the sources do not compile, do not fit or crash;
    GateUnavailable when a run does not end in time or QEMU does not count instructions; InputError
    for an unknown core or option, or sources that are no generated model.
    """
    chosen = core_named(core)
    if runs < 1:
        raise InputError(f"{runs} runs show nothing.", hint="Give 1 or more.")
    if optimisation not in get_args(Optimisation) or compiler not in (
        None,
        *get_args(CompilerName),
    ):
        raise InputError(
            f"Generated C is not compared as compiled by {compiler} {optimisation}.",
            hint=f"Known: {', '.join((*get_args(CompilerName), *get_args(Optimisation)))}.",
        )
    with tempfile.TemporaryDirectory(prefix="sordino-") as temporary:
        folder = Path(temporary)
        name = furnish(folder, sources, vectors, call)
        tools = cross_compiler(folder, chosen, compiler, optimisation)
        simulator = _simulator(chosen)
        firmware = build(tools, name, call)
        results = [_run(simulator, firmware, vectors, timeout) for _ in range(runs)]
        counts: tuple[OperatorCount, ...] = ()
        version = tools.version()
        if operators:
            hooks = max(label.step for label in operators) + 1
            profiled = build(tools, name, call, operators=hooks)
            found = _run(simulator, profiled, vectors, timeout, operators=hooks).operators
            counts = tuple(_counted(label, found[:, label.step]) for label in operators)
        return SimulationReport(
            core=chosen.name,
            machine=firmware.machine.name,
            compiler=version,
            simulator=_simulator_version(simulator, firmware.machine, folder),
            conditions=f"{chosen.title} on QEMU's {firmware.machine.name}, {version}",
            frames=vectors.frames,
            step=Count.of(results[0].steps),
            steps=results[0].steps,
            overhead=results[0].overhead,
            operators=counts,
            stack=max(results[0].stacks),
            sizes=firmware.sizes,
            difference=compare(vectors, results[0].masks),
            runs=runs,
            repeatable=all(result.same(results[0]) for result in results),
        )


def _counted(label: OperatorLabel, counts: npt.NDArray[np.int64]) -> OperatorCount:
    return OperatorCount(
        step=label.step,
        kind=label.kind,
        output=label.output,
        macs=label.macs,
        instructions=Count.of([int(count) for count in counts]),
    )


def _run(
    simulator: str,
    firmware: Firmware,
    vectors: GoldenVectors,
    timeout: float,
    operators: int = 0,
) -> _Results:
    folder = firmware.path.parent.parent
    machine = firmware.machine
    command = [simulator, "-M", machine.name, *machine.options, "-display", "none"]
    command += ["-monitor", "none", "-serial", "none", "-no-reboot"]
    command += ["-semihosting-config", "enable=on,target=native"]
    command += ["-icount", f"shift={machine.shift},align=off,sleep=off"]
    command += ["-kernel", str(firmware.path)]
    (folder / "results.bin").unlink(missing_ok=True)
    finished = run_tool(command, folder, timeout)
    if finished.status:
        lines = finished.errors.strip().splitlines()
        reason = STATUSES.get(finished.status, lines[0] if lines else f"{finished.status}")
        raise GateFailed(
            f"The firmware did not finish on {machine.name}: {reason}.",
            hint="It runs on the generated sources alone: run them on this host with sanitizers.",
        )
    return _read_results((folder / "results.bin").read_bytes(), vectors, machine, operators)


def _read_results(
    results: bytes, vectors: GoldenVectors, machine: Machine, operators: int
) -> _Results:
    """Decode results.bin (its layout is in firmware/bench.c)."""
    masks = vectors.masks
    mask_words = -(-masks.shape[1] * masks.itemsize // 4)
    words = np.frombuffer(results, "<u4") if len(results) % 4 == 0 else np.empty(0, "<u4")
    expected = CALIBRATION_WORDS + vectors.frames * (2 + operators + mask_words)
    if len(words) != expected:
        raise GateFailed(
            f"The firmware wrote {len(results)} bytes, not {4 * expected}.",
            hint="It lost its way: run the generated sources on this host with sanitizers.",
        )
    scale = _instructions_per_tick(words[:CALIBRATION_WORDS], machine)
    frames = words[CALIBRATION_WORDS:].reshape(vectors.frames, -1)
    counts = np.rint(frames * scale).astype(np.int64)
    nothing, reading = (round(int(ticks) * scale) for ticks in words[2:CALIBRATION_WORDS])
    overhead = nothing - 1  # the function that does nothing is one instruction, its return
    stored = np.ascontiguousarray(frames[:, 2 + operators :]).view(masks.dtype.newbyteorder("<"))
    return _Results(
        steps=tuple(int(count) - overhead for count in counts[:, 0]),
        operators=counts[:, 2 : 2 + operators] - reading,
        stacks=tuple(int(value) for value in frames[:, 1]),
        masks=stored[:, : masks.shape[1]].astype(masks.dtype),
        overhead=overhead,
    )


def _instructions_per_tick(calibration: npt.NDArray[np.uint32], machine: Machine) -> float:
    """How many instructions a tick is, checked against two loops of known length.

    The longer loop executes 2000 instructions more than the shorter. Raises GateUnavailable when
    the counter disagrees, as it does in a QEMU whose clocks are others.
    """
    shorter, longer = int(calibration[0]), int(calibration[1])
    instructions = 2 * SPIN_ROUNDS
    if abs(longer - shorter - instructions * machine.ticks_per_instruction) >= 2:
        raise GateUnavailable(
            f"QEMU's {machine.name} does not count instructions as expected: {instructions} of "
            f"them are {longer - shorter} ticks.",
            hint="This QEMU has other clocks than version 7.2: use that one.",
        )
    return 1.0 / machine.ticks_per_instruction


def _simulator(core: Core) -> str:
    return find_tool(core.toolchain.simulator, core.toolchain.packages)


def _simulator_version(simulator: str, machine: Machine, folder: Path) -> str:
    found = VERSION.search(run_tool([simulator, "--version"], folder, 10.0).output)
    version = found[1] if found else "of unknown version"
    return f"{Path(simulator).name} {version} -icount shift={machine.shift}"
