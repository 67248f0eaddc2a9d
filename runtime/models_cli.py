"""The ``models`` commands: what is shipped, copies of it, and its cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtime.models.copying import Part

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(short_help="List shipped models, or copy one.")
def models() -> None:
    """Trained models that travel with sordino.

    Their names stand for their int8 artefacts wherever a command takes a model file, and for
    their weights as `teacher: {model: NAME}` in a recipe.
    """


@models.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List the models: size, work, delay and quality."""
    from runtime.models.shipped import model_names, open_model

    cards = [open_model(name).card for name in model_names()]
    if as_json:
        records = [card.model_dump(mode="json", by_alias=True) for card in cards]
        click.echo(json.dumps({"models": records}, indent=2))
        return
    from rich.console import Console

    from runtime.models.tables import EMPTY, overview

    Console().print(overview(cards) if cards else EMPTY)


@models.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder to copy into.  [default: NAME]"
)
@click.option(
    "--format",
    "part",
    type=click.Choice(["int8", "int16x8", "weights", "all"]),
    default="all",
    show_default=True,
    help="An artefact with its sidecar, or the checkpoint to export, prune or teach with.",
)
@click.option("--force", is_flag=True, help="Replace files that are there with another content.")
@as_json_option
def get(name: str, output: Path | None, part: Part, force: bool, as_json: bool) -> None:
    """Copy the model NAME into a folder, with its card.

    Every file is checked against the card. All are written, or none.
    """
    from runtime.models.copying import copy_model
    from runtime.models.shipped import open_model

    written = copy_model(open_model(name), output or Path(name), part, force=force)
    if as_json:
        click.echo(json.dumps({"model": name, "files": [str(path) for path in written]}, indent=2))
        return
    for path in written:
        click.echo(f"{path}: {path.stat().st_size:,} bytes")


@models.command()
@click.argument("name")
@as_json_option
def card(name: str, as_json: bool) -> None:
    """Print the card of the model NAME: data, licences, figures, limits."""
    from runtime.models.page import page
    from runtime.models.shipped import open_model

    found = open_model(name).card
    if as_json:
        click.echo(found.model_dump_json(by_alias=True, indent=2))
    else:
        click.echo(page(found), nl=False)
