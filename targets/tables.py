"""How targets look in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from targets.catalog import origin_of
from targets.own import OwnProfile
from targets.schema import Accelerator, Budget, Memory, Speed, Target

KIB, MIB = 1 << 10, 1 << 20


def overview(
    listed: Sequence[Target], own: Sequence[OwnProfile], folder: Path
) -> Iterator[RenderableType]:
    """Formats, devices by class, and the user's own targets where there are any."""
    yield _formats([target for target in listed if target.kind == "format"])
    yield _devices("Devices (an empty cell is an unknown figure)", listed)
    if own:
        found = [one.target for one in own if one.target is not None]
        yield Text(f"Your own, in {folder}")
        if formats := [target for target in found if target.kind == "format"]:
            yield _formats(formats)
        if any(target.kind == "device" for target in found):
            yield _devices("", found)
        for one in own:
            if one.target is None:
                yield Text(f"{one.path.name} is broken: {one.reason}")
    yield Text("`sordino targets show NAME` gives all figures and their sources.")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        right = column in ("MHz", "weights", "data", "operators")
        side: Literal["left", "right"] = "right" if right else "left"
        table.add_column(column, justify=side, overflow="fold")
    return table


def _formats(found: Iterable[Target]) -> Table:
    table = _table("Formats", "name", "operators", "what it is")
    for target in found:
        table.add_row(escape(target.name), str(len(target.operators)), escape(target.title))
    return table


def _devices(title: str, found: Iterable[Target]) -> Table:
    """``weights`` and ``data``: the product's budget, else all memory that may hold them."""
    table = _table(title, "name", "core", "MHz", "weights", "data", "NPU or DSP")
    devices = (target for target in found if target.kind == "device")
    for name, members in groupby(devices, key=lambda target: target.device_class or ""):
        table.add_section()
        table.add_row(Text(name, style="italic"))
        for target in members:
            table.add_row(*map(escape, _device_cells(target)))
    return table


def _device_cells(target: Target) -> tuple[str, ...]:
    return (
        target.name,
        target.core,
        _number(target.clock_mhz),
        _rounded(target.budget.weight_bytes or target.weight_bytes),
        _rounded(target.budget.ram_bytes or target.ram_bytes),
        ", ".join(part.name for part in target.accelerators),
    )


def details(target: Target) -> Iterator[RenderableType]:
    """Everything a profile says: a table of figures with numbers of sources, then the sources."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("field", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("source", no_wrap=True)
    for field, value, figure in _fields(target):
        table.add_row(escape(field), escape(value), _numbers(target, figure))
    yield Text(f"{target.name}: {target.title}", style="bold")
    yield table
    for number, source in enumerate(target.sources, 1):
        yield Text(f"{number}  {source.title}")
        yield from (Text(f"   {line}") for line in (source.url, source.note) if line)


def _numbers(target: Target, figure: str) -> str:
    numbered = enumerate(target.sources, 1)
    return ", ".join(str(number) for number, source in numbered if figure in source.supports)


def _fields(target: Target) -> Iterator[tuple[str, str, str]]:
    """(field, its text, name of the figure for which sources are given)."""
    what = f", {target.device_class}" if target.device_class else ""
    yield "kind", f"{target.kind}{what}; {origin_of(target)}", ""
    if target.kind == "format":
        yield "operators", ", ".join(target.operators), "operators"
        return
    yield "formats", ", ".join(target.formats), ""
    yield "core", target.core, "core"
    yield "clock", _number(target.clock_mhz, "MHz"), "clock_mhz"
    for region in target.memory:
        yield f"memory {region.name}", _region(region), f"memory.{region.name}"
        if region.read_mb_s is not None:
            read = f"memory.{region.name}.read_mb_s"
            yield "  read", f"{_number(region.read_mb_s)} MB/s", read
    for part in target.accelerators:
        yield f"{part.kind} {part.name}", _accelerator(part), f"accelerator.{part.name}"
    for name, value in target.budget:
        if value is not None:
            yield f"budget {name}", _limit(name, value), f"budget.{name}"
    if target.energy:
        current, volts = target.energy.active_ua_per_mhz, target.energy.volts
        yield "energy", f"{_number(current)} µA/MHz at {_number(volts)} V", "energy"
    for speed in target.speeds:
        yield f"speed {speed.format}", _speed(speed), f"speed.{speed.format}"
    if target.budget == Budget():
        yield "budget", "none stated", ""


def _region(region: Memory) -> str:
    return f"{size(region.bytes) or 'size unknown'}, {region.kind}, for {', '.join(region.holds)}"


def _accelerator(part: Accelerator) -> str:
    vela = part.vela
    said = [_number(part.clock_mhz, "MHz")]
    said.append(f"{_number(part.macs_per_cycle)} MAC/cycle" if part.macs_per_cycle else "")
    said.append(
        f"Vela: {vela.accelerator_config}, {vela.system_config}, {vela.memory_mode}" if vela else ""
    )
    return ", ".join(filter(None, said))


def _limit(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return size(int(value))
    return _number(value, name.rpartition("_")[2]) if name != "cpu_share" else f"{value:.0%}"


def _speed(speed: Speed) -> str:
    ranges = {
        "cycles an instruction": speed.cycles_per_instruction,
        "cycles a MAC": speed.cycles_per_mac,
    }
    said = [f"{low:g} to {high:g} {unit}" for unit, (low, high) in _given(ranges)]
    return f"{', '.join(said)}, {speed.basis}"


def _given(
    ranges: dict[str, tuple[float, float] | None],
) -> Iterator[tuple[str, tuple[float, float]]]:
    return ((unit, bounds) for unit, bounds in ranges.items() if bounds is not None)


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.10g} {unit}".rstrip()


def size(count: int | None) -> str:
    """A number of bytes in the largest unit that needs no rounding; "" for None."""
    if count is None:
        return ""
    if count % MIB == 0:
        return f"{count // MIB} MiB"
    if count % 10**6 == 0:
        return f"{count / 1e9:.10g} GB" if count >= 10**9 else f"{count // 10**6} MB"
    if count % KIB == 0:
        return f"{count // KIB} KiB"
    return f"{count / 1e3:.10g} kB"


def _rounded(count: int | None) -> str:
    """:func:`size` to four digits, for a column."""
    exact = size(count)
    if count is None or len(exact) <= 8:
        return exact
    return f"{count / MIB:.4g} MiB" if count >= MIB else f"{count / KIB:.4g} KiB"
