"""The files of generated C: ``NAME.c``, ``NAME.h`` and headers; ``NAME_audio.c`` beside them where
the whole audio path was written too."""

from __future__ import annotations

import re
from collections.abc import Iterable

from targets.errors import InputError

_SOURCE = re.compile(r"[A-Za-z_]\w*\.[ch]")
_AUDIO = "_audio.c"


def model_name(files: Iterable[str]) -> str:
    """NAME, of the names of all files.

    Raises InputError for other files than those of one model.
    """
    names = set(files)
    if strange := sorted(name for name in names if not _SOURCE.fullmatch(name)):
        raise _other(f"{strange[0]!r} is not the name of a C source")
    bodies = {name.removesuffix(".c") for name in names if name.endswith(".c")}
    models = [body for body in bodies if audio_source(body) in names or len(bodies) == 1]
    if len(models) != 1 or f"{models[0]}.h" not in names or len(bodies) > 2:
        raise _other("a model is NAME.c, NAME.h and headers, with NAME_audio.c at most")
    return models[0]


def audio_source(name: str) -> str:
    """The file of a model's audio path."""
    return f"{name}{_AUDIO}"


def network_files(files: Iterable[str]) -> list[str]:
    """Those without the audio path's code: the step alone."""
    names = list(files)
    return [name for name in names if name != audio_source(model_name(names))]


def _other(reason: str) -> InputError:
    return InputError(
        f"The C sources are not those of this model ({reason}).",
        hint="Copy the whole folder of the model.",
    )
