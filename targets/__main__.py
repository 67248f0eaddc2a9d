"""``python -m targets``: the same command as ``sordino targets``."""

from targets.cli import targets
from targets.command import run

if __name__ == "__main__":
    raise SystemExit(run(targets, "python -m targets"))
