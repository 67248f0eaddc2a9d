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

    Console().print(_details(found[0]) if name else _overview(found))


def _as_dict(target: Target) -> dict[str, object]:
    from targets.catalog import origin_of

    return {**target.model_dump(mode="json", by_alias=True), "origin": origin_of(target)}


def _overview(found: tuple[Target, ...]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Targets (an empty cell is an unknown figure)")
    columns = ("name", "kind", "format", "flash", "RAM", "clock", "latency", "source")
    for column in columns:
        right = column in ("flash", "RAM", "clock", "latency")
        table.add_column(
            column, justify="right" if right else "left", overflow="fold", no_wrap=column == "name"
        )
    for target in found:
        figures = _figures(target)
        table.add_row(
            target.name,
            target.kind,
            escape("\n".join(target.formats)),
            figures["flash_bytes"],
            figures["ram_bytes"],
            figures["clock_mhz"],
            figures["algorithmic_latency_ms"],
            "\n".join(_host(source.url) or escape(source.title) for source in target.sources),
        )
    return table


def _details(target: Target) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from targets.catalog import origin_of

    title = escape(f"{target.name}: {target.title}")
    table = Table("field", "value", "source", title=title)
    table.add_row("kind", f"{target.kind}, {origin_of(target)}", "")
    table.add_row("formats", escape(", ".join(target.formats)), "")
    table.add_row("core", escape(target.core), escape(_sources(target, "core")))
    for figure, text in _figures(target).items():
        table.add_row(figure, text, escape(_sources(target, figure)))
    table.add_row(
        "operators", escape(", ".join(target.operators)), escape(_sources(target, "operators"))
    )
    return table


def _host(url: str) -> str:
    return url.removeprefix("https://").split("/", 1)[0]


def _sources(target: Target, figure: str) -> str:
    supporting = (source for source in target.sources if figure in source.supports)
    lines = (
        "\n".join(part for part in (source.title, source.url, source.note) if part)
        for source in supporting
    )
    return "\n".join(lines)


def _figures(target: Target) -> dict[str, str]:
    """Text of every figure by name; empty where it is unknown."""
    figures = target.figures
    return {
        "flash_bytes": _bytes(figures.flash_bytes),
        "ram_bytes": _bytes(figures.ram_bytes),
        "clock_mhz": "" if figures.clock_mhz is None else f"{figures.clock_mhz:g} MHz",
        "algorithmic_latency_ms": (
            ""
            if figures.algorithmic_latency_ms is None
            else f"{figures.algorithmic_latency_ms:g} ms"
        ),
    }


def _bytes(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1024:,.0f} KiB" if count < 1 << 24 else f"{count / 1e9:,.1f} GB"
