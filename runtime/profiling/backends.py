"""Where an artefact can be profiled: one table, one signature, imported only when used.

A backend is a module with a function ``measure(artefacts, request)`` that returns the readings of
every artefact, in order, and those ratios it can vouch for. It raises ToolMissing (exit code 3, how
to install it) where a program or package is missing, InputError for an address or artefact that it
cannot take, GateUnavailable where the device does not answer.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from runtime.artefact import Artefact
from runtime.profiling.records import Ratio, Reading
from targets.errors import InputError
from targets.schema import Target


@dataclass(frozen=True)
class Place:
    """What ``--on BACKEND[:ADDRESS]`` says."""

    backend: str
    address: str = ""

    def __str__(self) -> str:
        return f"{self.backend}:{self.address}" if self.address else self.backend


@dataclass(frozen=True)
class Request:
    """What is asked of a backend. Each uses what concerns it."""

    address: str = ""  # core, host, serial number, port: what stands behind the colon
    seconds: float = 10.0  # of timing, for each artefact and engine
    frames: int = 100  # streaming frames that are compared with golden vectors
    engines: tuple[str, ...] = ()  # of the host; default: that of the format
    target: Target | None = None
    cpu: int | None = None  # the core to pin to


@dataclass(frozen=True)
class Findings:
    """What a backend found: for each artefact, in order, its readings."""

    readings: tuple[tuple[Reading, ...], ...]
    ratios: tuple[Ratio, ...] = ()


class Backend(Protocol):
    """The module behind a name."""

    def measure(self, artefacts: Sequence[Artefact], request: Request) -> Findings: ...


@dataclass(frozen=True)
class BackendInfo:
    """One row of the table.

    ``programs`` and ``distributions`` are alternatives in groups: of every group one must be there.
    """

    name: str
    module: str
    summary: str
    provenance: str
    address: str = ""  # what the address is, empty where there is none
    programs: tuple[tuple[str, ...], ...] = ()
    distributions: tuple[tuple[str, ...], ...] = field(default=())
    install: str = ""


BACKENDS: dict[str, BackendInfo] = {
    info.name: info
    for info in (
        BackendInfo(
            "host",
            "runtime.devices.host",
            "times engines on this machine",
            "measured-host",
            distributions=(("onnxruntime", "ai-edge-litert", "tflite-micro"),),
            install="pip install onnxruntime ai-edge-litert",
        ),
        BackendInfo(
            "simulator",
            "runtime.devices.simulator",
            "counts instructions of generated C on a bare core",
            "simulated",
            address="core",
            programs=(("qemu-system-arm", "qemu-system-riscv32"),),
            install="sudo apt install qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi "
            "(or pip install ziglang, for the compiler)",
        ),
        BackendInfo(
            "vela",
            "runtime.devices.vela",
            "models an Ethos-U NPU",
            "modelled",
            address="target or accelerator",
            distributions=(("ethos-u-vela",),),
            install="pip install 'sordino[profile]'",
        ),
        BackendInfo(
            "adb",
            "runtime.devices.adb",
            "times generated C and LiteRT on an Android device",
            "measured-device",
            address="serial number",
            programs=(("adb",),),
            install="sudo apt install adb",
        ),
        BackendInfo(
            "ssh",
            "runtime.devices.ssh",
            "times generated C and LiteRT on a Linux machine",
            "measured-device",
            address="user@host[:port]",
            programs=(("ssh",),),
            install="sudo apt install openssh-client",
        ),
        BackendInfo(
            "serial",
            "runtime.devices.serial",
            "reads the bench firmware of a microcontroller",
            "measured-device",
            address="port[@baud]",
            distributions=(("pyserial",),),
            install="pip install 'sordino[profile]'",
        ),
        BackendInfo(
            "swo",
            "runtime.devices.swo",
            "reads the bench firmware of a microcontroller through its trace pin",
            "measured-device",
            address="file, host:port or port@baud",
        ),
    )
}


def parse_place(text: str) -> Place:
    """``BACKEND`` or ``BACKEND:ADDRESS``. Raises InputError for a backend that is not known."""
    name, _, address = text.partition(":")
    if name not in BACKENDS:
        close = difflib.get_close_matches(name, BACKENDS, n=1)
        suggestion = f"Did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"Nothing can be profiled on {text!r}.",
            hint=f"{suggestion}Known: {', '.join(BACKENDS)}.",
        )
    info = BACKENDS[name]
    if address and not info.address:
        raise InputError(f"{name} takes no address ({text!r}).", hint=f"Write --on {name}.")
    return Place(name, address)


def load_backend(name: str) -> Backend:
    """The module of a backend in the table."""
    return cast(Backend, importlib.import_module(BACKENDS[name].module))
