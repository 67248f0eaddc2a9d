"""Ethos-U as Arm's compiler Vela models it: cycles, memory, and what stays on the CPU.

Vela's figures are estimates of a compiler for the memory system it was told of, so nothing is left
to its defaults: accelerator, system configuration and memory mode are named by a target's profile
or by the address. What an operator on the CPU takes is in none of them.
"""

from __future__ import annotations

import csv
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.artefact import Artefact
from runtime.devices.children import Finished, ToolMissing, run_tool
from runtime.doctor import installed_version
from runtime.figures import Figure, Provenance
from runtime.profiling.backends import Findings, Request
from runtime.profiling.labels import labels
from runtime.profiling.operators import operators_of
from runtime.profiling.records import OperatorRow, Reading, Unavailable
from targets.catalog import load_target
from targets.errors import GateUnavailable, InputError
from targets.schema import Vela

DISTRIBUTION = "ethos-u-vela"
SECONDS = 300.0
KIB = 1024
FORMATS = ("tflite-int8", "tflite-int16x8")
MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")
REFUSED = re.compile(
    r"^Warning \([^)]*\) operator: (\w+), ofm: '([^']*)'\nReason: (.*(?:\n(?!Warning|\n).*)*)",
    re.MULTILINE,
)


def measure(artefacts: Sequence[Artefact], request: Request) -> Findings:
    """Model every int8 or int16x8 .tflite artefact on one NPU.

    The address is a target with an Ethos-U, or ACCELERATOR/SYSTEM_CONFIG/MEMORY_MODE in Vela's own
    names; without it, the request's target. Raises ToolMissing without Vela, InputError where no
    NPU is named, Vela does not know it or takes none of the artefacts, GateUnavailable where it
    does not end.
    """
    vela = _configuration(request)
    if not any(artefact.sidecar.target in FORMATS for artefact in artefacts):
        names = ", ".join(labels(artefacts))
        raise InputError(
            f"Vela takes {' and '.join(FORMATS)}, and {names} is none of them.",
            hint="Export the model as tflite-int8 as well.",
        )
    version = installed_version((DISTRIBUTION,))
    if not version:
        raise ToolMissing(
            "Vela, the compiler for Ethos-U, is not installed here.",
            hint="pip install 'sordino[profile]'; `sordino doctor` lists what this machine has.",
        )
    return Findings(tuple((_reading(artefact, vela, version),) for artefact in artefacts))


def _configuration(request: Request) -> Vela:
    parts = request.address.split("/")
    if len(parts) == 3 and not request.address.endswith(".toml"):
        config, system, mode = parts
        return Vela(accelerator_config=config, system_config=system, memory_mode=mode)
    target = load_target(request.address) if request.address else request.target
    configurations = [part.vela for part in target.accelerators if part.vela] if target else []
    if not configurations:
        named = f"The target {target.name} has no Ethos-U." if target else "No Ethos-U is named."
        raise InputError(
            named,
            hint="Name a target that has one (--on vela:corstone-300), or "
            "vela:ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram.",
        )
    return configurations[0]


def _reading(artefact: Artefact, vela: Vela, version: str) -> Reading:
    place = vela.accelerator_config
    format = artefact.sidecar.target
    if format not in FORMATS:
        reason = f"Vela takes {' and '.join(FORMATS)}, this is {format}."
        return _nothing(place, reason)
    with tempfile.TemporaryDirectory(prefix="sordino-") as temporary:
        folder = Path(temporary)
        (folder / "model.tflite").write_bytes(artefact.path.read_bytes())
        finished = _compile(folder, vela)
        if finished.status:
            reason = _last_line(finished)
            if "CliOptionError" in reason or "argument --" in reason:
                raise InputError(
                    f"Vela does not know this NPU: {reason.partition('Error: ')[2] or reason}",
                    hint="`vela --list-configs Arm/vela.ini` lists system configurations and "
                    "memory modes.",
                )
            return _nothing(place, f"Vela refused the model: {reason}")
        summary, layers = _tables(folder)
        refused = {
            output: " ".join(why.split()) for _, output, why in REFUSED.findall(_said(finished))
        }
        return Reading(
            backend="vela",
            place=place,
            figures=_figures(summary, layers, artefact, vela, f"Vela {version}"),
            operators=_operators(layers, refused),
        )


def _nothing(place: str, reason: str) -> Reading:
    lacking = Unavailable(name=f"cycles [{place}]", reason=reason)
    return Reading(backend="vela", place=place, unavailable=(lacking,))


def _compile(folder: Path, vela: Vela) -> Finished:
    command = [sys.executable, "-P", "-m", "ethosu.vela", "model.tflite", "--output-dir", "out"]
    command += ["--accelerator-config", vela.accelerator_config]
    command += ["--system-config", vela.system_config, "--memory-mode", vela.memory_mode]
    command += ["--config", "Arm/vela.ini", "--verbose-performance"]
    return run_tool(command, folder, SECONDS)


def _said(finished: Finished) -> str:
    return f"{finished.output}\n{finished.errors}"


def _last_line(finished: Finished) -> str:
    lines = [line.strip() for line in _said(finished).splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"status {finished.status}"


@dataclass(frozen=True)
class _Layer:
    """A line of Vela's table. An operator may have several, of the same output."""

    kind: str
    output: str
    place: str  # "NPU" or "CPU"
    cycles: float


def _tables(folder: Path) -> tuple[dict[str, str], list[_Layer]]:
    """Vela's summary and the layers of its network. Raises GateUnavailable for other columns."""
    try:
        (overall,) = folder.glob("out/*_summary_*.csv")
        (each,) = folder.glob("out/*_per-layer.csv")
        with overall.open(newline="") as file:
            (summary,) = csv.DictReader(file)
        with each.open(newline="") as file:
            layers = [
                _Layer(
                    kind=row["Original Operator"],
                    output=row["Name"],
                    place=row["Target"],
                    cycles=float(row["Op Cycles"]),
                )
                for row in csv.DictReader(file)
            ]
        for name in ("cycles_total", "cycles_npu", "core_clock"):
            float(summary[name])
    except (ValueError, KeyError, OSError) as error:
        raise GateUnavailable(
            "Vela's tables cannot be read: they are not those of version 5.2.",
            hint="pip install ethos-u-vela==5.2.0",
        ) from error
    return summary, layers


def _figures(
    summary: dict[str, str], layers: Sequence[_Layer], artefact: Artefact, vela: Vela, tool: str
) -> tuple[Figure, ...]:
    place, clock = vela.accelerator_config, float(summary["core_clock"])
    system = f"{vela.system_config}, {vela.memory_mode}, {clock / 1e6:g} MHz"
    total = float(summary["cycles_total"])
    parts = ("npu", *(f"{memory}_access" for memory in MEMORIES))
    each = [float(summary[f"cycles_{part}"]) for part in parts]
    overlap = (
        f"{system}; least: NPU and every memory busy at once throughout, greatest: never at once; "
        "compiler's estimate, operators on the CPU not included"
    )
    work = artefact.sidecar.network.macs_per_step
    on_cpu = {layer.output for layer in layers if layer.place == "CPU"}
    operators = operators_of(artefact)
    held = [row for row in operators if row.output not in on_cpu]
    on_npu = sum(row.macs for row in held)

    def figure(name: str, value: float, unit: str, conditions: str, *limits: float) -> Figure:
        low, high = limits or (value, value)
        return Figure(
            name=f"{name} [{place}]",
            value=value,
            unit=unit,
            provenance=Provenance.MODELLED,
            tool=tool,
            conditions=conditions,
            low=low,
            high=high,
        )

    def microseconds(cycles: float) -> float:
        return 1e6 * cycles / clock

    bounds = max(each), sum(each)
    figures = [
        figure("cycles", total, "cycles", overlap, *bounds),
        figure(
            "step",
            microseconds(total),
            "µs",
            overlap,
            *(microseconds(bound) for bound in bounds),
        ),
        figure("NPU busy", each[0], "cycles", f"{system}; memory accesses not included"),
        figure("MACs on the NPU", 100.0 * on_npu / work, "%", f"{system}; {on_npu:,} of {work:,}"),
        figure(
            "operators on the NPU",
            100.0 * len(held) / len(operators),
            "%",
            f"{len(held)} of {len(operators)}",
        ),
    ]
    for memory in MEMORIES:
        if used := KIB * float(summary[f"{memory}_memory_used"]):
            name = memory.replace("_", " ").replace("sram", "SRAM").replace("dram", "DRAM")
            figures.append(figure(name, used, "bytes", f"{system}, as Vela places tensors"))
    return tuple(figures)


def _operators(layers: Sequence[_Layer], refused: dict[str, str]) -> tuple[OperatorRow, ...]:
    """One row an operator: what Vela makes several of is summed."""
    grouped: dict[str, list[_Layer]] = {}
    for layer in layers:
        grouped.setdefault(layer.output, []).append(layer)
    return tuple(
        OperatorRow(
            step=step,
            kind=parts[0].kind,
            output=output,
            value=None if parts[0].place == "CPU" else sum(part.cycles for part in parts),
            unit="cycles",
            provenance=Provenance.MODELLED,
            place=parts[0].place,
            note=refused.get(output, refused.get(f"{output}_act", "")),
        )
        for step, (output, parts) in enumerate(grouped.items())
    )
