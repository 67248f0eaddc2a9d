"""Devices and needs for tests, every figure generous unless given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from targets.needs import Needs
from targets.schema import Target

NEEDS: dict[str, Any] = {
    "format": "c-int8",
    "operators": ("CONV_2D", "ADD"),
    "parameters": 80_000,
    "macs_per_step": 100_000,
    "hop_samples": 256,
    "sample_rate": 16_000,
    "algorithmic_delay": 512,
    "constant_bytes": 90_000,
    "code_bytes": 7_000,
    "static_ram_bytes": 5_000,
    "stack_bytes": 300,
    "io_bytes": 1_280,
    "instructions": 200_000,
}
FLASH = {"name": "flash", "kind": "flash", "bytes": 1_000_000, "holds": ["code", "weights"]}
SRAM = {"name": "sram", "kind": "sram", "bytes": 100_000, "holds": ["data"]}


def needs(**changes: Any) -> Needs:
    return Needs.model_validate({**NEEDS, **changes})


def interpreted(**changes: Any) -> Needs:
    """The same network as a TFLite model: an arena, and nothing of a simulation."""
    unknown = ("code_bytes", "static_ram_bytes", "stack_bytes", "instructions")
    bare = {**dict.fromkeys(unknown), "format": "tflite-int8", "io_bytes": 0, "arena_bytes": 16_000}
    return needs(**{**bare, **changes})


def device(**changes: Any) -> Target:
    """A Cortex-M4 at 64 MHz with one flash and one RAM."""
    record: dict[str, Any] = {
        "name": "board",
        "kind": "device",
        "class": "board",
        "title": "A board",
        "formats": ["c-int8", "tflite-int8", "c-int16x8"],
        "core": "cortex-m4",
        "clock_mhz": 64.0,
        "memory": [FLASH, SRAM],
        **changes,
    }
    record["sources"] = [{"supports": list(_stated(record)), "title": "made up"}]
    return Target.model_validate({key: value for key, value in record.items() if value is not None})


def _stated(record: dict[str, Any]) -> Iterator[str]:
    """The figures that need a source."""
    yield from (name for name in ("core", "clock_mhz", "energy") if record.get(name))
    for region in record["memory"]:
        yield f"memory.{region['name']}"
        if "read_mb_s" in region:
            yield f"memory.{region['name']}.read_mb_s"
    yield from (f"budget.{name}" for name in record.get("budget", {}))
    yield from (f"speed.{speed['format']}" for speed in record.get("speed", ()))
