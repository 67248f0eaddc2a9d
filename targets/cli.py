"""The ``targets`` commands: what sordino can ship to, where each figure comes from, and profiles of
one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targets.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from targets.checking import Checked
    from targets.schema import Problem, Target

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(invoke_without_command=True)
@as_json_option
@click.pass_context
def targets(context: click.Context, as_json: bool) -> None:
    """List artefact formats and devices, or show, check and write profiles.

    Your own profiles are the files NAME.toml in $SORDINO_TARGETS, else in
    ~/.config/sordino/targets.
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("Give --json after the subcommand.")
        return
    from targets.catalog import BUILTIN, list_targets
    from targets.own import own_folder, own_profiles

    listed, own, folder = list_targets(), own_profiles(BUILTIN), own_folder()
    if as_json:
        described = [_as_dict(target) for target in listed]
        described += [_as_dict(one.target) for one in own if one.target]
        broken = [{"file": str(one.path), "reason": one.reason} for one in own if not one.target]
        _print_json({"targets": described, "folder": str(folder), "broken": broken})
        return
    from targets.tables import overview

    _print(overview(listed, own, folder))


@targets.command()
@click.argument("name")
@as_json_option
def show(name: str, as_json: bool) -> None:
    """Show all that a profile says, with the source of every figure.

    NAME is a built-in target, one of your own, or a .toml file.
    """
    from targets.catalog import load_target
    from targets.tables import details

    target = load_target(name)
    if as_json:
        _print_json(_as_dict(target))
    else:
        _print(details(target))


@targets.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@as_json_option
@click.pass_context
def check(context: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Check profiles and name everything that is wrong with them.

    Remarks name what is valid but leaves a verdict unknown. Exit status 2 if a file is no valid
    profile.
    """
    from targets.checking import check_file

    checked = [check_file(path) for path in files]
    if as_json:
        _print_json({"files": [_checked_as_dict(one) for one in checked]})
    else:
        for one in checked:
            _tell(one)
    if any(one.problems for one in checked):
        context.exit(InputError.exit_code)


@targets.command()
@click.argument("name")
@click.option("--from", "base", metavar="NAME|FILE", help="Take over what this device has.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write; by default NAME.toml in the folder of your own targets.",
)
@as_json_option
def new(name: str, base: str | None, output: Path | None, as_json: bool) -> None:
    """Write a commented template of the device NAME, to be filled in.

    A file that exists is never overwritten.
    """
    from targets.own import own_folder

    path = own_folder() / f"{name}.toml" if output is None else output
    text = _template(name, base)
    if output is None:
        if path.parts[0] == "~":
            raise InputError(
                "No home folder is known here.", hint="Name the file with -o, or set $HOME."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
    _write_new(path, text)
    if as_json:
        _print_json({"file": str(path), "name": name, "from": base})
        return
    click.echo(f"{path} is written. Fill in what it says, then: sordino targets check {path}")


def _template(name: str, base: str | None) -> str:
    import re

    from targets.catalog import BUILTIN, list_targets, load_target
    from targets.schema import NAME_PATTERN
    from targets.writing import template

    if not re.fullmatch(NAME_PATTERN, name):
        raise InputError(
            f"{name!r} cannot name a target.",
            hint="Use lower-case letters, digits and hyphens, 64 at most.",
        )
    if name in BUILTIN:
        raise InputError(
            f"{name!r} is a built-in target.", hint="Give your target a name of its own."
        )
    source = load_target(base) if base else None
    if source and source.kind != "device":
        raise InputError(
            f"{base!r} is a format, and a template describes a device.",
            hint="Name a device: `sordino targets` lists them.",
        )
    formats = tuple(target.name for target in list_targets() if target.kind == "format")
    return template(name, source, formats)


def _write_new(path: Path, text: str) -> None:
    try:
        # Exclusive creation instead of a temporary name: renaming would replace what is there.
        stream = path.open("x", encoding="utf-8")
    except FileExistsError as error:
        raise InputError(
            f"{path} exists already.", hint="Choose another name; nothing is overwritten."
        ) from error
    except FileNotFoundError as error:
        raise InputError(
            f"The folder {path.parent} does not exist.", hint="Make it first."
        ) from error
    try:
        with stream:
            stream.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"{path} cannot be written ({(error.strerror or str(error)).lower()}).",
            hint="Free some space, or choose another folder.",
        ) from error


def _tell(checked: Checked) -> None:
    count = len(checked.problems)
    found = "valid" if not count else f"{count} problem{'s' if count > 1 else ''}"
    click.echo(f"{checked.path}: {found}")
    for problem in checked.problems:
        click.echo(f"  {problem}")
    for remark in checked.remarks:
        click.echo(f"  remark: {remark}")


def _checked_as_dict(checked: Checked) -> dict[str, object]:
    def listed(found: Iterable[Problem]) -> list[dict[str, str]]:
        return [{"field": one.field, "wrong": one.wrong} for one in found]

    return {
        "file": str(checked.path),
        "valid": not checked.problems,
        "problems": listed(checked.problems),
        "remarks": listed(checked.remarks),
    }


def _as_dict(target: Target) -> dict[str, object]:
    from targets.catalog import origin_of

    return {**target.model_dump(mode="json", by_alias=True), "origin": origin_of(target)}


def _print_json(content: object) -> None:
    click.echo(json.dumps(content, indent=2))


def _print(parts: Iterable[RenderableType]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))  # an address stays in one piece
