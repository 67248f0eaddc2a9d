"""The ``targets`` command: what sordino can ship to, and where each figure comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from targets.schema import Target


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def targets(name: str | None, as_json: bool) -> None:
    """List artefact formats and devices, or show one target NAME in full.

    NAME may also be a .toml file of your own.
    """
    from targets.catalog import list_targets, load_target

    found = (load_target(name),) if name else list_targets()
    if as_json:
        described = [_as_dict(target) for target in found]
        click.echo(json.dumps(described[0] if name else described, indent=2))
        return
    from rich.console import Console

    tables = [_details(found[0])] if name else [_overview(found), _source_list(found)]
    Console().print(*tables)


def _as_dict(target: Target) -> dict[str, object]:
    from targets.catalog import origin_of

    return {**target.model_dump(mode="json", by_alias=True), "origin": origin_of(target)}


def _overview(found: tuple[Target, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    title = "Targets (an empty cell is an unknown figure)"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "kind", "format"):
        table.add_column(column, no_wrap=True)
    for column in ("flash", "RAM", "clock", "latency"):
        table.add_column(column, justify="right", overflow="fold")
    for target in found:
        formats = "\n".join(target.formats) if target.kind == "device" else ""
        figures = _figures(target).values()
        table.add_row(escape(target.name), target.kind, escape(formats), *figures)
    return table


def _source_list(found: tuple[Target, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "source", box=SIMPLE_HEAD, pad_edge=False)
    for target in found:
        titles = "\n".join(source.title for source in target.sources)
        table.add_row(escape(target.name), escape(titles))
    return table


def _details(target: Target) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from targets.catalog import origin_of

    title = escape(f"{target.name}: {target.title}")
    table = Table("field", "value", title=title)
    table.add_column("source", overflow="fold")
    table.add_row("kind", f"{target.kind}, {origin_of(target)}", "")
    table.add_row("formats", escape(", ".join(target.formats)), "")
    table.add_row("core", escape(target.core), escape(_sources(target, "core")))
    for figure, text in _figures(target).items():
        table.add_row(figure, text, escape(_sources(target, figure)))
    table.add_row(
        "operators", escape(", ".join(target.operators)), escape(_sources(target, "operators"))
    )
    return table


def _sources(target: Target, figure: str) -> str:
    supporting = (source for source in target.sources if figure in source.supports)
    lines = (
        "\n".join(part for part in (source.title, source.url, source.note) if part)
        for source in supporting
    )
    return "\n".join(lines)


def _figures(target: Target) -> dict[str, str]:
    """Text of the main figures by name; empty where it is unknown."""
    from targets.fit import ram_offer, weight_offer

    clock, latency = target.clock_mhz, target.budget.algorithmic_latency_ms
    return {
        "flash": _bytes(weight_offer(target)),
        "RAM": _bytes(ram_offer(target)),
        "clock_mhz": "" if clock is None else f"{clock:g} MHz",
        "algorithmic_latency_ms": "" if latency is None else f"{latency:g} ms",
    }


def _bytes(count: int | None) -> str:
    if count is None:
        return ""
    if count >= 1 << 24:
        return f"{count / 1e9:.1f} GB"
    return f"{count >> 20} MiB" if count % (1 << 20) == 0 else f"{count / 1024:.0f} KiB"
