"""``python -m runtime``: the commands a device needs, as one group."""

import click

from runtime.bench_cli import bench
from runtime.cli import denoise, doctor
from runtime.live_cli import live
from runtime.models_cli import models
from runtime.profile_cli import profile
from targets.command import run

group = click.Group(
    "runtime",
    commands=[models, denoise, live, profile, bench, doctor],
    help="Run and measure a denoiser: all that a device needs.",
)

if __name__ == "__main__":
    raise SystemExit(run(group, "python -m runtime"))
