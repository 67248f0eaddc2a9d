"""``python -m distill``: the same command as ``sordino distill``."""

from distill.cli import distill
from targets.command import run

if __name__ == "__main__":
    raise SystemExit(run(distill, "python -m distill"))
