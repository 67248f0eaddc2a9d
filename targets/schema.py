"""A target: an artefact format or a device, as one TOML file. Every figure names its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA: Final = "sordino-target/2"
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"

MemoryKind = Literal[
    "flash", "mram", "rom", "external-flash", "storage", "sram", "tcm", "external-ram", "dram"
]
Content = Literal["code", "weights", "data"]  # data: arena, states, stack, buffers
DeviceClass = Literal[
    "hearing-aid", "microcontroller", "board", "phone", "single-board-computer", "simulated"
]
Basis = Literal["measured-device", "documented"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Source(_Record):
    """Where figures were read. ``supports`` names the figures, ``note`` what the source says."""

    supports: tuple[str, ...] = Field(min_length=1)
    title: str = Field(min_length=1)
    url: str = Field("", pattern=r"^(https://\S+)?$")
    note: str = ""


class Memory(_Record):
    """One memory region. ``bytes`` is what there is, ``holds`` what may be placed in it, and
    ``read_mb_s`` how many megabytes (10⁶) a second the processor reads from it in sequence."""

    name: str = Field(pattern=NAME_PATTERN)
    kind: MemoryKind
    bytes: int | None = Field(None, gt=0)
    holds: tuple[Content, ...] = Field(min_length=1)
    read_mb_s: float | None = Field(None, gt=0)


class Vela(_Record):
    """How Arm's compiler Vela is to model an Ethos-U: names of its own configuration."""

    accelerator_config: str = Field(min_length=1)
    system_config: str = Field(min_length=1)
    memory_mode: str = Field(min_length=1)


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
    weight_bytes: int | None = Field(None, gt=0)
    ram_bytes: int | None = Field(None, gt=0)
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
    title: str = Field(min_length=1)
    formats: tuple[str, ...] = Field(min_length=1)
    operators: tuple[str, ...] = ()
    core: str = ""
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
    def _kinds_differ(self) -> Target:
        if self.kind == "format":
            if self.formats != (self.name,):
                raise ValueError("a format takes itself only: formats must be [name]")
            if self.device_class or set(self.stated()) - {"operators"}:
                raise ValueError("a format has no core, memory or budget; those belong to devices")
        elif self.operators:
            raise ValueError("operators belong to a format, not to a device")
        elif self.device_class is None:
            raise ValueError("a device has a class")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Target:
        named = (self.memory, self.accelerators)
        for names in (*([part.name for part in parts] for parts in named), self._speed_formats()):
            if len(set(names)) != len(names):
                raise ValueError(f"a name is given twice: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _figures_have_sources(self) -> Target:
        stated = set(self.stated())
        sourced = {figure for source in self.sources for figure in source.supports}
        if missing := sorted(stated - sourced):
            raise ValueError(f"no source for {', '.join(missing)}")
        if idle := sorted(sourced - stated):
            raise ValueError(f"a source supports {', '.join(idle)}, which is not stated")
        return self

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
