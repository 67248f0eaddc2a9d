"""Silence for libraries that write to file descriptor 2 from C."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Captured:
    """What was written, known once the block has ended."""

    text: str = ""


@contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Send file descriptor 2 to a temporary file while the block runs.

    Python's own ``sys.stderr`` is caught as well where it writes to that descriptor. The
    descriptor belongs to the whole process: keep the block short.
    """
    captured = Captured()
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield captured
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                captured.text = file.read().decode(errors="replace")
    finally:
        os.close(saved)
