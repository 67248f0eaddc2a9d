"""The program that times generated C on a device: what it is given, and what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.devices.children import Finished
from runtime.devices.remote import Shell, in_folder, reason
from runtime.devices.simulation import C_TYPES, GoldenVectors
from runtime.generated_c import model_name
from targets.errors import GateFailed, GateUnavailable

PROGRAM = "linux_bench"
SOURCE = "linux_bench.c"
SPARE_SECONDS = 60.0  # for loading, golden frames and warm-up, on a slow device
MARK = b"sordino1"
# As in runner/linux_bench.c.
HEADER = np.dtype(
    [("mark", "S8")]
    + [
        (name, "<i8")
        for name in (
            *("frames", "mask_bytes", "cpu", "warm_up", "timed", "minimum", "maximum"),
            *("clock", "before", "after", "memory", "emulated", "entries"),
        )
    ]
)
FINE = 2048  # nanoseconds up to which durations are told apart; beyond, one part in FINE / 2
STATUSES = {
    100: "it was called wrongly",
    101: "it could not read its features",
    102: "it could not pin itself to the core",
    103: "it could not write its results, is there space left?",
    104: "there was not enough memory",
    105: "its folder was removed",
}
CANNOT_START = (126, 127)
SIGNALS = range(129, 129 + 64)  # as a shell reports that a signal ended a program
SIGALRM = 128 + 14


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many steps took how long: ``values`` in nanoseconds, ascending, to 0.1 % or better."""

    values: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    def percentile(self, percent: float) -> float:
        """The least value that at least ``percent`` of all steps do not exceed."""
        wanted = percent / 100.0 * float(self.counts.sum())
        place = int(np.searchsorted(np.cumsum(self.counts), wanted))
        return float(self.values[min(place, len(self.values) - 1)])


@dataclass(frozen=True, eq=False)
class RunnerResults:
    """Times in nanoseconds, frequencies in kHz, memory in bytes; 0 where the device did not say.

    ``steps`` of a timed run, ``operators`` ``[rounds, operators]`` of one with hooks.
    """

    masks: npt.NDArray[Any]
    cpu: int
    warm_up: int
    timed: int
    minimum: int
    maximum: int
    clock: int
    before: int
    after: int
    memory: int
    emulated: bool
    steps: Histogram | None
    operators: npt.NDArray[np.uint32]


def furnish(
    folder: Path, sources: Mapping[str, bytes], vectors: GoldenVectors, prefix: str
) -> None:
    """Lay out sources, runner and golden input in ``folder``.

    ``prefix`` is that of the functions to be called: NAME for steps of the network, NAME_audio for
    hops of sound. Raises InputError for other sources than those of one model.
    """
    model_name(sources)
    for source, content in sources.items():
        (folder / source).write_bytes(content)
    runner = resources.files("runtime.devices").joinpath("runner", SOURCE)
    (folder / SOURCE).write_bytes(runner.read_bytes())
    features, masks = vectors.features, vectors.masks
    audio = prefix.endswith("_audio")
    lines = [
        f'#include "{prefix}.h"',
        f"#define MODEL(member) {prefix}_##member",
        f"typedef {C_TYPES[features.dtype.name]} model_feature;",
        f"typedef {C_TYPES[masks.dtype.name]} model_mask;",
        f"#define FRAME_FEATURES {features.shape[1]}",
        f"#define FRAME_MASKS {masks.shape[1]}",
        *([f"#define {prefix}_step {prefix}_process"] if audio else []),
    ]
    (folder / "bench_model.h").write_text("\n".join(lines) + "\n")
    little = features.astype(features.dtype.newbyteorder("<"))
    (folder / "features.bin").write_bytes(little.tobytes())


def run(
    shell: Shell,
    remote: str,
    folder: Path,
    vectors: GoldenVectors,
    *,
    program: str = PROGRAM,
    cpu: int,
    seconds: float,
    operators: int = 0,
) -> RunnerResults:
    """Start the program that lies in ``remote`` and read what it wrote.

    Raises GateFailed where it crashed or wrote something else, GateUnavailable where it cannot be
    started or did not end.
    """
    started = f"./{quote(program)}"
    command = f"chmod 700 {started} && {started} {cpu} {round(seconds * 1000)}"
    finished = shell.run(in_folder(remote, command), 2 * seconds + 2 * SPARE_SECONDS)
    if finished.status:
        raise _failure(finished, shell, cpu)
    results = folder / "results.bin"
    results.unlink(missing_ok=True)
    shell.pull(f"{remote}/results.bin", results)
    return read_results(results.read_bytes(), vectors, operators)


def _failure(finished: Finished, shell: Shell, cpu: int) -> GateFailed | GateUnavailable:
    status = finished.status
    if status in CANNOT_START:
        return GateUnavailable(
            f"{shell.name} cannot start the program: {reason(finished)}",
            hint="Was it built for another processor?",
        )
    if status == SIGALRM:
        return GateUnavailable(f"The program did not end in time on {shell.name}.")
    if status in SIGNALS:
        return GateFailed(
            f"The program crashed on {shell.name} (signal {status - 128}).",
            hint="Run the generated sources on this host with sanitizers.",
        )
    return GateUnavailable(
        f"The program failed on {shell.name}: {STATUSES.get(status, f'status {status}')} "
        f"({reason(finished)}).",
        hint=f"Try another core than {cpu}, with --cpu." if status == 102 else "",
    )


def read_results(content: bytes, vectors: GoldenVectors, operators: int = 0) -> RunnerResults:
    """Decode results.bin. Raises GateFailed where it is not what the program writes in full."""
    masks = vectors.masks
    header = np.frombuffer(content[: HEADER.itemsize].ljust(HEADER.itemsize, b"\0"), HEADER)[0]
    rest = content[HEADER.itemsize :]
    entry = 4 * operators if operators else 16
    expected = masks.nbytes + max(0, int(header["entries"])) * entry
    golden = (vectors.frames, masks.itemsize * masks.shape[1])
    if (
        header["mark"] != MARK
        or (int(header["frames"]), int(header["mask_bytes"])) != golden
        or len(rest) != expected
        or header["entries"] < 1
    ):
        raise GateFailed(
            f"The results are incomplete or not those of this model ({len(content)} bytes).",
            hint="Was the device out of space, or the connection cut?",
        )
    stored = np.frombuffer(rest[: masks.nbytes], masks.dtype.newbyteorder("<"))
    timings = rest[masks.nbytes :]
    return RunnerResults(
        masks=stored.reshape(masks.shape).astype(masks.dtype),
        emulated=bool(header["emulated"]),
        steps=None if operators else _histogram(timings),
        operators=np.frombuffer(timings if operators else b"", "<u4").reshape(-1, operators or 1),
        **{
            name: int(header[name])
            for name in (
                *("cpu", "warm_up", "timed", "minimum", "maximum"),
                *("clock", "before", "after", "memory"),
            )
        },
    )


def _histogram(pairs: bytes) -> Histogram:
    found = np.frombuffer(pairs, "<u8").reshape(-1, 2)
    lowest = found[:, 0].astype(np.float64)
    # Beyond FINE an entry stands for an interval, of which its middle is taken.
    width = np.where(lowest < FINE, 1.0, 2.0 ** (np.floor(np.log2(lowest.clip(1))) - 10))
    return Histogram(lowest + (width - 1.0) / 2.0, found[:, 1].astype(np.int64))
