"""A target: an artefact format or a device, as one TOML file. Every figure names its source."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Source(_Record):
    """Where figures were read. ``supports`` names the figures, ``note`` what the source says."""

    supports: tuple[str, ...] = Field(min_length=1)
    title: str = Field(min_length=1)
    url: str = Field("", pattern=r"^(https://\S+)?$")
    note: str = ""


class Figures(_Record):
    """What a device offers. An unknown figure stays empty; it is never guessed.

    ``flash_bytes`` is what a model may occupy at most, ``ram_bytes`` on-chip RAM,
    ``algorithmic_latency_ms`` the longest delay from input sample to output sample.
    """

    clock_mhz: float | None = Field(None, gt=0)
    flash_bytes: int | None = Field(None, gt=0)
    ram_bytes: int | None = Field(None, gt=0)
    algorithmic_latency_ms: float | None = Field(None, gt=0)


class Target(_Record):
    """One profile. A format lists the ``operators`` of its runtime; a device lists the
    ``formats`` it takes, the preferred one first.

    There is no field that claims trust: see :func:`targets.catalog.origin_of`.
    """

    schema_version: Literal["sordino-target/1"] = Field("sordino-target/1", alias="schema")
    name: str = Field(pattern=NAME_PATTERN)
    kind: Literal["format", "device"]
    title: str = Field(min_length=1)
    formats: tuple[str, ...] = Field(min_length=1)
    core: str = ""
    figures: Figures = Figures()
    operators: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _kinds_differ(self) -> Target:
        if self.kind == "format":
            if self.formats != (self.name,):
                raise ValueError("a format takes itself only: formats must be [name]")
            if self.core or self._stated_figures():
                raise ValueError("a format has no core and no figures; those belong to devices")
        elif self.operators:
            raise ValueError("operators belong to a format, not to a device")
        return self

    @model_validator(mode="after")
    def _figures_have_sources(self) -> Target:
        stated = self._stated_figures()
        if self.core:
            stated.add("core")
        if self.operators:
            stated.add("operators")
        sourced = {figure for source in self.sources for figure in source.supports}
        if missing := sorted(stated - sourced):
            raise ValueError(f"no source for {', '.join(missing)}")
        if idle := sorted(sourced - stated):
            raise ValueError(f"a source supports {', '.join(idle)}, which is not stated")
        return self

    def _stated_figures(self) -> set[str]:
        return {name for name, value in self.figures if value is not None}
