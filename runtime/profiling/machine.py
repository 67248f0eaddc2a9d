"""The machine a profile is made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from runtime.profiling.records import Machine


def this_machine() -> Machine:
    """Processor, cores, system and Python of this machine."""
    return Machine(
        processor=processor(),
        logical_cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
