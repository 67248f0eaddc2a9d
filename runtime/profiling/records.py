"""What a profile is made of. Everything here goes into its JSON."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.figures import Figure, Provenance
from targets.fit import FitReport

SCHEMA: Final = "sordino-profile/1"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Unavailable(_Record):
    """A figure that could not be had here, and why."""

    name: str
    reason: str


class OperatorRow(_Record):
    """One operator of an artefact: what it is, and what it took where it ran.

    ``bytes_moved`` counts inputs, weights and output once each; ``value`` is the median in
    ``unit`` ("instructions", "µs", "cycles") with the least and greatest of all frames. ``node`` is
    what viewers of the file call it: its number in a .tflite, its name in an .onnx.
    """

    step: int  # position among the operators of the file
    kind: str  # "CONV_2D"
    output: str  # name of the tensor it writes
    shape: tuple[int, ...] = ()  # of that tensor
    macs: int = 0
    bytes_moved: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    provenance: Provenance = Provenance.EXACT
    place: str = ""  # "NPU" or "CPU" where a device has both
    node: str = ""
    note: str = ""


class Reading(_Record):
    """What one backend found out about one artefact in one place.

    ``matches`` says whether every frame gave the golden mask, None where none were compared;
    ``difference`` tells the first frame that did not.
    """

    backend: str  # "host", "simulator", "vela", "ssh", …
    place: str  # engine, core or device: "litert", "cortex-m4", "pi@192.168.0.7"
    figures: tuple[Figure, ...] = ()
    operators: tuple[OperatorRow, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()
    matches: bool | None = None
    difference: str = ""


class Subject(_Record):
    """All that is known about one artefact: what its file tells, and a reading per place."""

    artefact: str
    format: str
    sha256: str
    figures: tuple[Figure, ...]  # exact, from file and sidecar
    readings: tuple[Reading, ...] = ()
    operators: dict[str, int] = {}  # kind → how many
    fit: FitReport | None = None

    def all_figures(self) -> tuple[Figure, ...]:
        """Exact figures and those of all readings."""
        return (*self.figures, *(figure for part in self.readings for figure in part.figures))

    def figure(self, name: str) -> Figure | None:
        """The figure called ``name``, None when it is not among them."""
        return next((figure for figure in self.all_figures() if figure.name == name), None)


class Ratio(_Record):
    """Median step time of one place over that of another, both measured in turns in one run.

    ``low`` and ``high`` bound it with 95 % confidence (bootstrap over rounds).
    """

    slower: str  # "ARTEFACT [engine]"
    faster: str
    ratio: float
    low: float
    high: float
    provenance: Provenance


class Machine(_Record):
    """Where the profile was made."""

    processor: str
    logical_cores: int
    system: str
    python: str


class ProfileReport(_Record):
    """A profile of one or more artefacts. ``command`` makes it again."""

    schema_version: Literal["sordino-profile/1"] = Field(SCHEMA, alias="schema")
    created: str  # UTC, ISO 8601
    command: str
    tools: dict[str, str]
    machine: Machine
    target: str = ""
    subjects: tuple[Subject, ...]
    ratios: tuple[Ratio, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()  # backends that could not run at all
