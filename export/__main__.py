"""``python -m export``: the same command as ``sordino export``."""

from export.cli import export
from targets.command import run

if __name__ == "__main__":
    raise SystemExit(run(export, "python -m export"))
