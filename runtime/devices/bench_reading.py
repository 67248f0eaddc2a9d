"""What a bench's answers say: masks bit by bit, cycles, stack, operators."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.artefact import Artefact
from runtime.devices.artefacts import labels_of
from runtime.devices.bench_protocol import FrameAnswer, Hello
from runtime.devices.bench_session import Run
from runtime.devices.simulation import Difference, GoldenVectors, compare
from runtime.figures import Figure, Provenance
from runtime.profiling.records import OperatorRow, Reading, Unavailable
from targets.errors import GateUnavailable

FLOAT_TOLERANCE = 1e-4  # of masks; a device may round the last bits of floats otherwise
STEP = "step"
HOOKED_STEP = "step with hooks"  # of a build that counts operators: the hooks are in the way
RANKS = ("median", "p99", "least", "greatest")
_STATED = re.compile(r"frames on a (?:simulated )?(?P<core>[\w-]+)(?: at (?P<clock>[\d.e+]+) MHz)?")
_UNKNOWN_CORE = "core"


def reading_of(
    artefact: Artefact, vectors: GoldenVectors, run: Run, backend: str, port: str
) -> Reading:
    """The reading of all golden frames. Raises GateUnavailable for masks of another size."""
    difference = compare(vectors, _masks(vectors, run))
    scribe = _Scribe(artefact, run, f"{backend} {port}")
    figures, lacking = scribe.figures()
    operators, unread = scribe.operators()
    return Reading(
        backend=backend,
        place=port,
        figures=tuple(figures),
        operators=tuple(operators),
        unavailable=(*lacking, *unread),
        matches=difference is None or _within_tolerance(vectors, difference),
        difference="" if difference is None else _told(difference),
    )


def stated(figure: Figure) -> tuple[str, float | None]:
    """The core on which a figure of a bench was measured, empty where it is not known, and its
    clock in MHz."""
    found = _STATED.search(figure.conditions)
    if found is None:
        return "", None
    core = "" if found["core"] == _UNKNOWN_CORE else found["core"]
    return core, float(found["clock"]) if found["clock"] else None


def _masks(vectors: GoldenVectors, run: Run) -> npt.NDArray[np.generic]:
    size = vectors.masks[0].nbytes
    stored = [answer.mask for answer in run.answers]
    if any(len(mask) != size for mask in stored):
        raise GateUnavailable(
            f"The bench answers with masks of {len(stored[0])} bytes, its model has {size}.",
            hint="Write and flash the bench again.",
        )
    dtype = vectors.masks.dtype.newbyteorder("<")
    masks = np.frombuffer(b"".join(stored), dtype).reshape(vectors.masks.shape)
    return masks.astype(vectors.masks.dtype)


def _within_tolerance(vectors: GoldenVectors, difference: Difference) -> bool:
    return vectors.masks.dtype.kind == "f" and difference.largest <= FLOAT_TOLERANCE


def _told(difference: Difference) -> str:
    return (
        f"frame {difference.frame}, value {difference.value}: {difference.actual:g}, expected "
        f"{difference.expected:g}; {difference.differing} values differ, by {difference.largest:g} "
        "at most"
    )


@dataclass(frozen=True)
class _Scribe:
    """Writes figures of a run down, with the place in their names."""

    artefact: Artefact
    run: Run
    place: str

    @property
    def hello(self) -> Hello:
        return self.run.hello

    @property
    def provenance(self) -> Provenance:
        return Provenance.SIMULATED if self.hello.simulated else Provenance.MEASURED_DEVICE

    @property
    def unit(self) -> str:
        """Of the counter: a simulated board's is a timer on simulated time."""
        return "ticks" if self.hello.simulated else "cycles"

    @property
    def conditions(self) -> str:
        """What was measured, on what, compiled by what."""
        hello = self.hello
        clock = f" at {hello.clock_hz / 1e6:g} MHz as it states" if hello.clock_hz else ""
        kind = "simulated " if hello.simulated else ""
        masked = ", interrupts masked" if hello.masks_interrupts else ""
        return (
            f"{len(self.run.answers)} frames on a {kind}{hello.core or _UNKNOWN_CORE}"
            f"{clock}{masked}, {hello.overhead} {self.unit} of an empty step subtracted; "
            f"{hello.compiler or 'compiler not stated'}"
        )

    def figures(self) -> tuple[list[Figure], list[Unavailable]]:
        """Step in cycles and µs, per MAC, and the stack."""
        step = HOOKED_STEP if self.hello.operators else STEP
        lacking = []
        if self.hello.operators:
            reason = "this build counts operators, which slows a step: flash the plain one"
            lacking.append(self._lacks(f"{STEP}, median", reason))
        found: list[Figure] = []
        if reason := self._no_cycles():
            lacking += [self._lacks(f"{step}, {rank}", reason) for rank in RANKS]
        else:
            cycles = [answer.ticks or 0 for answer in self.run.answers]
            found, lost = self._step_figures(
                step, [max(0, c - self.hello.overhead) for c in cycles]
            )
            lacking += lost
        stacks = [answer.stack for answer in self.run.answers]
        known = [stack for stack in stacks if stack is not None]
        if len(known) == len(stacks):
            found.append(self._figure("stack of a step", max(known), "bytes"))
        else:
            lacking.append(self._lacks("stack of a step", "not known on this core"))
        return found, lacking

    def _step_figures(
        self, step: str, cycles: Sequence[int]
    ) -> tuple[list[Figure], list[Unavailable]]:
        ranks = {
            "median": float(np.median(cycles)),
            "p99": float(np.percentile(cycles, 99, method="higher")),
            "least": float(min(cycles)),
            "greatest": float(max(cycles)),
        }
        span = (ranks["least"], ranks["greatest"])
        found = [
            self._figure(f"{step}, {rank}", value, self.unit, span if rank == "median" else None)
            for rank, value in ranks.items()
        ]
        macs = self.artefact.sidecar.network.macs_per_step
        if macs:
            found.append(
                self._figure(f"{step}, per MAC", ranks["median"] / macs, f"{self.unit} per MAC")
            )
        if reason := self._no_time():
            return found, [self._lacks(f"time of a {step}, median", reason)]
        microseconds = 1e6 / self.hello.clock_hz
        found += [
            self._figure(f"time of a {step}, {rank}", value * microseconds, "µs")
            for rank, value in ranks.items()
        ]
        return found, []

    def operators(self) -> tuple[list[OperatorRow], list[Unavailable]]:
        """Cycles of every operator, in a build that counts them."""
        if not self.hello.operators:
            return [], []
        if reason := self._no_cycles():
            return [], [self._lacks("operators", reason)]
        counts = np.array([answer.operators for answer in self.run.answers], np.int64)
        counts = np.maximum(counts - self.hello.hook_overhead, 0)
        labels = labels_of(self.artefact.path.read_bytes())
        return [
            OperatorRow(
                step=label.step,
                kind=label.kind,
                output=label.output,
                macs=label.macs,
                value=float(np.median(counts[:, label.step])),
                low=float(counts[:, label.step].min()),
                high=float(counts[:, label.step].max()),
                unit=self.unit,
                provenance=self.provenance,
            )
            for label in labels
            if label.step < counts.shape[1]
        ], []

    def _no_cycles(self) -> str:
        """Why there are no cycles, empty where there are."""
        if not self.hello.counts or _stands_still(self.run.answers):
            return f"{self.hello.counter_name}: the counter does not run"
        if any(answer.ticks is None for answer in self.run.answers):
            bits, counter = self.hello.counter_bits, self.hello.counter_name
            return f"a step takes more than the {bits} bits of {counter}"
        return ""

    def _no_time(self) -> str:
        if self.hello.simulated:
            return "a simulated board has no clock"
        if not self.hello.clock_hz:
            return "the board does not state its clock: supply bench_clock_hz"
        return ""

    def _figure(
        self, name: str, value: float, unit: str, span: tuple[float, float] | None = None
    ) -> Figure:
        low, high = span or (None, None)
        tool = f"bench firmware, {self.hello.counter_name}"
        return Figure(
            name=f"{name} [{self.place}]",
            value=value,
            unit=unit,
            provenance=self.provenance,
            tool=tool,
            conditions=self.conditions,
            low=low,
            high=high,
        )

    def _lacks(self, name: str, reason: str) -> Unavailable:
        return Unavailable(name=f"{name} [{self.place}]", reason=reason)


def _stands_still(answers: Sequence[FrameAnswer]) -> bool:
    return all(answer.ticks == 0 for answer in answers)
