"""A target: an artefact format or a device, as one TOML file. Every figure names its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA: Final = "sordino-target/2"
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"

MemoryKind = Literal[
    "flash",
    "mram",
    "rram",
    "rom",
    "external-flash",
    "storage",
    "sram",
    "tcm",
    "external-ram",
    "dram",
]
Content = Literal["code", "weights", "data"]  # data: arena, states, stack, buffers
DeviceClass = Literal[
    "hearing-aid", "microcontroller", "board", "phone", "single-board-computer", "simulated"
]
Basis = Literal["measured-device", "documented"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one field of a profile, in words that end a sentence begun by its name."""

    field: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.field}: {self.wrong}."


class InconsistentError(ValueError):
    """Fields that are right each but do not go together."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(" ".join(map(str, problems)))
        self.problems = problems


def _printable(text: str) -> str:
    # Titles and notes go to a terminal, which would obey control characters.
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


MOST_BYTES = 10**15  # more than any memory, and exact as a float
Text = Annotated[str, AfterValidator(_printable)]


class _Record(BaseModel):
    model_config = ConfigDict(
        defer_build=True,  # a record that is part of another need not be built by itself
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        allow_inf_nan=False,
    )


class Source(_Record):
    """Where figures were read. ``supports`` names the figures, ``note`` what the source says."""

    supports: tuple[Text, ...] = Field(min_length=1)
    title: Text = Field(min_length=1)
    url: Text = Field("", pattern=r"^(https://\S+)?$")
    note: Text = ""


class Memory(_Record):
    """One memory region. ``bytes`` is what there is, ``holds`` what may be placed in it, and
    ``read_mb_s`` how many megabytes (10⁶) a second the processor reads from it in sequence."""

    name: str = Field(pattern=NAME_PATTERN)
    kind: MemoryKind
    bytes: int | None = Field(None, gt=0, le=MOST_BYTES)
    holds: tuple[Content, ...] = Field(min_length=1)
    read_mb_s: float | None = Field(None, gt=0)


class Vela(_Record):
    """How Arm's compiler Vela is to model an Ethos-U: names of its own configuration."""

    accelerator_config: Text = Field(min_length=1)
    system_config: Text = Field(min_length=1)
    memory_mode: Text = Field(min_length=1)


class Accelerator(_Record):
    """A processor beside the core that runs networks, or parts of them."""

    name: str = Field(pattern=NAME_PATTERN)
    kind: Literal["npu", "dsp"] = "npu"
    clock_mhz: float | None = Field(None, gt=0)
    macs_per_cycle: float | None = Field(None, gt=0)
    vela: Vela | None = None


class Budget(_Record):
    """Limits of a product. One that is not stated was not asked for; it is no unknown.

    ``algorithmic_latency_ms`` is the delay of window and look-ahead, ``total_latency_ms`` that plus
    computing and ``io_ms``, the delay of converters and their drivers. ``cpu_share`` is the part of
    a hop that a step may take. ``weight_bytes`` and ``ram_bytes`` are the model's part of the
    memory.
    """

    algorithmic_latency_ms: float | None = Field(None, gt=0)
    total_latency_ms: float | None = Field(None, gt=0)
    io_ms: float | None = Field(None, ge=0)
    cpu_share: float | None = Field(None, gt=0, le=1)
    weight_bytes: int | None = Field(None, gt=0, le=MOST_BYTES)
    ram_bytes: int | None = Field(None, gt=0, le=MOST_BYTES)
    power_mw: float | None = Field(None, gt=0)


class Energy(_Record):
    """Supply current of the running core and its voltage, as the data sheet has them."""

    active_ua_per_mhz: float = Field(gt=0)
    volts: float = Field(gt=0)


class Speed(_Record):
    """How fast this device runs generated models of a format: least and greatest.

    ``cycles_per_instruction`` applies to counts of a simulated step, ``cycles_per_mac`` where there
    is no such count.
    """

    format: str = Field(pattern=NAME_PATTERN)
    basis: Basis
    cycles_per_instruction: tuple[float, float] | None = None
    cycles_per_mac: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Speed:
        ranges = [part for part in (self.cycles_per_instruction, self.cycles_per_mac) if part]
        if not ranges:
            raise ValueError("give cycles_per_instruction or cycles_per_mac")
        if any(not 0 < low <= high for low, high in ranges):
            raise ValueError("a range is [least, greatest], both above 0")
        return self


class Target(_Record):
    """One profile. A format lists the ``operators`` of its runtime; a device lists the
    ``formats`` it takes, the preferred one first, and says what it is made of.

    There is no field that claims trust: see :func:`targets.catalog.origin_of`.
    """

    schema_version: Literal["sordino-target/2"] = Field(SCHEMA, alias="schema")
    name: str = Field(pattern=NAME_PATTERN)
    kind: Literal["format", "device"]
    device_class: DeviceClass | None = Field(None, alias="class")
    title: Text = Field(min_length=1)
    formats: tuple[Text, ...] = Field(min_length=1)
    operators: tuple[Text, ...] = ()
    core: Text = ""
    clock_mhz: float | None = Field(None, gt=0)
    memory: tuple[Memory, ...] = ()
    accelerators: tuple[Accelerator, ...] = Field((), alias="accelerator")
    budget: Budget = Budget()
    energy: Energy | None = None
    speeds: tuple[Speed, ...] = Field((), alias="speed")
    sources: tuple[Source, ...] = ()

    @property
    def weight_bytes(self) -> int | None:
        """What all regions that may hold weights have together, None where that is unknown."""
        return self._bytes_for("weights")

    @property
    def ram_bytes(self) -> int | None:
        """What all regions that may hold data have together, None where that is unknown."""
        return self._bytes_for("data")

    def regions_for(self, content: Content) -> tuple[Memory, ...]:
        """The regions that may hold ``content``, the preferred one first."""
        return tuple(region for region in self.memory if content in region.holds)

    def _bytes_for(self, content: Content) -> int | None:
        sizes = [region.bytes for region in self.regions_for(content)]
        known = [size for size in sizes if size is not None]
        return sum(known) if known and len(known) == len(sizes) else None

    @model_validator(mode="after")
    def _fields_go_together(self) -> Target:
        problems = (*self._misplaced(), *self._repeated(), *self._unsourced())
        if problems:
            raise InconsistentError(problems)
        return self

    def _misplaced(self) -> Iterator[Problem]:
        if self.kind == "format":
            if self.formats != (self.name,):
                yield Problem("formats", f"a format takes itself only, so [{self.name!r}] here")
            for field in ("class", *sorted(set(self.stated()) - {"operators"})):
                if field != "class" or self.device_class:
                    yield Problem(field, "belongs to a device, and this is a format")
        else:
            if self.operators:
                yield Problem("operators", "belong to a format, and this is a device")
            if self.device_class is None:
                yield Problem("class", f"is missing: one of {', '.join(get_args(DeviceClass))}")

    def _repeated(self) -> Iterator[Problem]:
        named = {
            "formats": self.formats,
            "operators": self.operators,
            "memory": [region.name for region in self.memory],
            "accelerator": [part.name for part in self.accelerators],
            "speed": self._speed_formats(),
        }
        for field, names in named.items():
            if twice := sorted({name for name in names if list(names).count(name) > 1}):
                yield Problem(field, f"{', '.join(twice)} stands there twice")

    def _unsourced(self) -> Iterator[Problem]:
        stated = set(self.stated())
        sourced = {figure for source in self.sources for figure in source.supports}
        for figure in sorted(stated - sourced):
            yield Problem(figure, "no source supports it")
        for index, source in enumerate(self.sources):
            for figure in source.supports:
                if figure not in stated:
                    yield Problem(
                        f"sources[{index}].supports", f"{figure!r} is no figure stated above"
                    )

    def stated(self) -> tuple[str, ...]:
        """Names of the figures that are stated and so need a source: ``core``, ``clock_mhz``,
        ``memory.NAME``, ``memory.NAME.read_mb_s``, ``accelerator.NAME``, ``budget.FIELD``,
        ``energy``, ``speed.FORMAT``, ``operators``."""
        return tuple(self._stated())

    def _stated(self) -> Iterator[str]:
        for name in ("core", "clock_mhz", "operators", "energy"):
            if getattr(self, name):
                yield name
        for region in self.memory:
            yield f"memory.{region.name}"
            if region.read_mb_s is not None:
                yield f"memory.{region.name}.read_mb_s"
        yield from (f"accelerator.{part.name}" for part in self.accelerators)
        yield from (f"budget.{name}" for name, value in self.budget if value is not None)
        yield from (f"speed.{format}" for format in self._speed_formats())

    def _speed_formats(self) -> list[str]:
        return [speed.format for speed in self.speeds]
