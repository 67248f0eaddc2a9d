"""The child process that gives models to the commands: ``python -m tests.hostile.commands NOISY
MODEL…``. For each model status and stderr of each command, and peak memory, are a line of JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys

import sordino
from tests.hostile.keeper import peak


def main(noisy: str, *models: str) -> None:
    for model in models:
        outcomes = {}
        for name, arguments in {
            "denoise": [noisy, "clean.wav", "--model", model],
            "profile": [model, "--seconds", "0.1"],
            "verify": [model],
        }.items():
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                status = sordino.main([name, *arguments])
            outcomes[name] = [status, said.getvalue()]
        sys.stdout.write(json.dumps({"outcomes": outcomes, "peak": peak()}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
