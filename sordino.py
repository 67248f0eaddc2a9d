"""The door: the ``sordino`` command and the few public names.

Nothing but click is imported until a command or a name is asked for, so that ``sordino --help``
answers at once and a device without torch can still run what needs none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from targets.command import run

if TYPE_CHECKING:
    from runtime.artefact import load_artefact
    from runtime.denoiser import StreamingDenoiser, denoise_signal
    from runtime.stft import StftContract

__version__ = "0.1.0"
__all__ = ["StftContract", "StreamingDenoiser", "denoise_signal", "load_artefact", "main"]

_PUBLIC = {
    "StftContract": "runtime.stft",
    "StreamingDenoiser": "runtime.denoiser",
    "denoise_signal": "runtime.denoiser",
    "load_artefact": "runtime.artefact",
}


class Place(NamedTuple):
    """Where a command lives, and the line ``--help`` prints for it."""

    module: str
    attribute: str
    help: str


# In the order in which a person meets them.
COMMANDS = {
    "demo": Place("export.demo_cli", "demo", "Walk the whole road once on a small corpus."),
    "data": Place("distill.data_cli", "data", "Describe recordings for training."),
    "budget": Place("export.budget_cli", "budget", "State a recipe's cost before training."),
    "distill": Place("distill.cli", "distill", "Train a teacher and distil a student."),
    "evaluate": Place("distill.evaluate_cli", "evaluate", "Score models on held-out mixtures."),
    "prune": Place("export.prune_cli", "prune", "Cut a trained network down to a smaller one."),
    "study": Place("distill.study_cli", "study", "Compare methods over scenarios and seeds."),
    "export": Place("export.cli", "export", "Turn a student into verified model files."),
    "models": Place("runtime.models_cli", "models", "List and copy models that are shipped."),
    "denoise": Place("runtime.cli", "denoise", "Clean a file or a live stream."),
    "live": Place("runtime.live_cli", "live", "Denoise the microphone, live."),
    "profile": Place("runtime.profile_cli", "profile", "Measure models here and on devices."),
    "bench": Place("runtime.bench_cli", "bench", "Write bench firmware for a board of your own."),
    "targets": Place("targets.cli", "targets", "List, show and describe what to ship to."),
    "pack": Place("export.pack_cli", "pack", "Make the folder a firmware team builds from."),
    "verify": Place("export.verify_cli", "verify", "Check models or a pack again, offline."),
    "doctor": Place("runtime.cli", "doctor", "Say what this machine has and what it lacks."),
}


class Door(click.Group):
    """A group that lists its commands from a table and imports only the one that is called."""

    def __init__(self, places: dict[str, Place], **settings: Any) -> None:
        listed = [click.Command(name, help=place.help) for name, place in places.items()]
        super().__init__(commands=listed, **settings)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table rather than of the alphabet."""
        return list(self._places)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that was named; unknown names fail with click's suggestion."""
        name, listed, rest = super().resolve_command(ctx, args)
        if name is None or listed is None:
            return name, listed, rest
        place = self._places[name]
        command: click.Command = getattr(importlib.import_module(place.module), place.attribute)
        return name, command, rest


door = Door(
    COMMANDS,
    name="sordino",
    help="Distil a speech denoiser small enough for a hearing aid, prove that nothing was lost on "
    "the way, and pack it for firmware.",
    epilog="Exit status: 0 done, 1 a gate failed, 2 bad usage or input, 3 a gate could not run.",
)
door = click.version_option(__version__, prog_name="sordino")(door)


def main(arguments: list[str] | None = None) -> int:
    """The console script: run the command named by ``arguments`` and return its exit status."""
    return run(door, "sordino", arguments)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])


if __name__ == "__main__":
    raise SystemExit(main())
