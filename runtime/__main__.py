"""``python -m runtime``: the commands a device needs, as one group."""

import click

from runtime.cli import denoise, doctor, profile, verify
from targets.command import run

group = click.Group(
    "runtime",
    commands=[denoise, profile, verify, doctor],
    help="Run, measure and check a denoiser: all that a device needs.",
)

if __name__ == "__main__":
    raise SystemExit(run(group, "python -m runtime"))
