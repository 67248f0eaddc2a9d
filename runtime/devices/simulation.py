"""What a simulation is asked and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from runtime.figures import Figure, Provenance
from targets.errors import InputError

SECTIONS = (
    "linked firmware without the bench: code is .text and libraries, constants .rodata, "
    "initialised data .data, zeroed data .bss, states and arena"
)
C_TYPES = {"int8": "int8_t", "int16": "int16_t", "float32": "float"}


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Frames fed to a model in turn, state carried, and the masks it has to answer.

    Stored values (int8, int16 or float32): ``features`` ``[frames, features]``, ``masks``
    ``[frames, masks]``. Raises InputError for anything else.
    """

    features: npt.NDArray[Any] = field(repr=False)
    masks: npt.NDArray[Any] = field(repr=False)

    def __post_init__(self) -> None:
        for name, values in (("features", self.features), ("masks", self.masks)):
            if values.ndim != 2 or values.size == 0 or values.dtype.name not in C_TYPES:
                raise InputError(
                    f"Golden {name} are {values.dtype} {list(values.shape)}, not frames of values.",
                    hint="Give int8, int16 or float32 of shape [frames, values].",
                )
        if len(self.features) != len(self.masks):
            raise InputError(
                f"{len(self.features)} frames of features, {len(self.masks)} of masks.",
                hint="Every frame needs the mask that belongs to it.",
            )

    @property
    def frames(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class OperatorLabel:
    """What the step of the generated code is that calls its profiling hook with number ``step``."""

    step: int
    kind: str  # "CONV_2D"
    output: str
    macs: int = 0


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Count(_Record):
    """Instructions over all frames."""

    minimum: int
    median: int
    maximum: int

    @classmethod
    def of(cls, values: Sequence[int]) -> Count:
        """The range of ``values``, of which there is at least one."""
        return cls(minimum=min(values), median=round(median(values)), maximum=max(values))


class OperatorCount(_Record):
    """Instructions of one operator, and its multiplications of activations with weights."""

    step: int
    kind: str
    output: str
    macs: int
    instructions: Count

    @property
    def per_mac(self) -> float | None:
        """Instructions per MAC in the median frame, None for an operator without MACs."""
        return self.instructions.median / self.macs if self.macs else None


class Sizes(_Record):
    """Bytes in the linked firmware, without those of the bench.

    ``text``, ``rodata``, ``data`` and ``bss`` come from the generated sources; ``library_code``
    and ``library_data`` from what they call (memcpy, arithmetic that the core lacks);
    ``instance`` is the state and the arena, which the caller owns.
    """

    text: int
    rodata: int
    data: int
    bss: int
    library_code: int
    library_data: int
    instance: int

    @property
    def flash(self) -> int:
        """What a device stores: code, constants and initial values."""
        return self.text + self.rodata + self.data + self.library_code

    @property
    def ram(self) -> int:
        """What a device keeps in memory between steps; the stack comes on top."""
        return self.data + self.bss + self.library_data + self.instance


class Difference(_Record):
    """The first value that is not the golden one, and how many there are."""

    frame: int
    value: int
    expected: float
    actual: float
    differing: int  # values, over all frames
    largest: float  # difference, in stored values

    def __str__(self) -> str:
        return (
            f"frame {self.frame}, value {self.value}: {self.actual:g} instead of "
            f"{self.expected:g}; {self.differing} values differ, by {self.largest:g} at most"
        )


class SimulationReport(_Record):
    """A model on a simulated core. Instructions are exact; they are not cycles."""

    core: str
    machine: str
    compiler: str
    simulator: str
    conditions: str
    provenance: Provenance = Provenance.SIMULATED
    frames: int
    step: Count
    steps: tuple[int, ...]  # instructions of every frame
    overhead: int  # instructions of reading the counter and calling, already subtracted
    operators: tuple[OperatorCount, ...]  # empty when the sources have no hooks
    stack: int  # bytes, deepest over all frames
    sizes: Sizes
    difference: Difference | None
    runs: int
    repeatable: bool  # every run gave the same counts and masks

    @property
    def exact(self) -> bool:
        """Whether every mask was the golden one to the bit."""
        return self.difference is None

    def figures(self, macs: int = 0) -> tuple[Figure, ...]:
        """The report as figures, each with where it comes from; ``macs`` is the work of a step.

        ``flash`` is the sum of code, constants and initialised data, ``RAM without stack`` that of
        initialised and zeroed data.
        """
        over = f"over {self.frames} frames, {self.runs} runs, {self.conditions}"
        step = self.step
        figures = [
            self._figure("step, median", step.median, "instructions", over, step),
            self._figure("step, maximum", step.maximum, "instructions", over),
        ]
        if macs:
            per_mac = step.median / macs
            figures.append(self._figure("instructions per MAC", per_mac, "", over))
        figures.append(self._figure("stack of a step", self.stack, "bytes", over))
        return (*figures, *self._size_figures())

    def audio_figures(self) -> tuple[Figure, ...]:
        """The figures of a report whose step was a whole hop of audio."""
        over = f"over {self.frames} hops, {self.runs} runs, {self.conditions}"
        step, sizes = self.step, self.sizes
        return (
            self._figure("hop of audio, median", step.median, "instructions", over, step),
            self._figure("hop of audio, maximum", step.maximum, "instructions", over),
            self._figure("stack of a hop of audio", self.stack, "bytes", over),
            self._size("flash with audio", sizes.flash),
            self._size("RAM with audio, without stack", sizes.ram),
        )

    def _size_figures(self) -> Iterator[Figure]:
        sizes = self.sizes
        yield self._size("flash", sizes.flash)
        yield self._size("RAM without stack", sizes.ram)
        yield self._size("code", sizes.text + sizes.library_code)
        yield self._size("constants", sizes.rodata)
        yield self._size("initialised data", sizes.data)
        yield self._size("zeroed data", sizes.ram - sizes.data)

    def _size(self, name: str, value: int) -> Figure:
        return self._figure(name, value, "bytes", SECTIONS, tool=self.compiler)

    def _figure(
        self,
        name: str,
        value: float,
        unit: str,
        conditions: str,
        spread: Count | None = None,
        tool: str = "",
    ) -> Figure:
        return Figure(
            name=f"{name} [{self.core}]",
            value=value,
            unit=unit,
            provenance=self.provenance,
            tool=tool or self.simulator,
            conditions=conditions,
            low=None if spread is None else spread.minimum,
            high=None if spread is None else spread.maximum,
        )


def compare(vectors: GoldenVectors, masks: npt.NDArray[Any]) -> Difference | None:
    """The difference of ``masks`` ``[frames, masks]`` from the golden ones, bit by bit."""
    expected, actual = np.ascontiguousarray(vectors.masks), np.ascontiguousarray(masks)
    bits = f"u{expected.itemsize}"
    different = expected.view(bits) != actual.view(bits)
    if not different.any():
        return None
    frame, value = (int(index) for index in np.argwhere(different)[0])
    gap = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    return Difference(
        frame=frame,
        value=value,
        expected=float(expected[frame, value]),
        actual=float(actual[frame, value]),
        differing=int(different.sum()),
        largest=float(np.nanmax(gap[different], initial=0.0)),
    )
