"""How long ``sordino --help`` takes, imports and interpreter included.

Run by hand: ``python tests/benchmarks/startup.py [COMMAND ...]``. The budget is 300 ms.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 20


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of one run."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    beside = Path(sys.executable).with_name("sordino")
    installed = str(beside) if beside.exists() else shutil.which("sordino")
    command = sys.argv[1:] or ([installed] if installed else [sys.executable, "-m", "sordino"])
    command = [*command, "--help"]
    seconds(command)  # the first run reads from disk and compiles
    times = sorted(seconds(command) for _ in range(RUNS))
    print(" ".join(command))
    print(
        f"{RUNS} runs: fastest {times[0] * 1e3:.0f} ms, "
        f"median {statistics.median(times) * 1e3:.0f} ms, slowest {times[-1] * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    main()
