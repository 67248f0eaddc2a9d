"""What all tests share: one thread for every numeric library, and where the recordings are."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Before anything imports torch or numpy: thread-pools that outnumber the cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# Where the tests are started in the background Ctrl-C is ignored, and by their children as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings (train/, devtest/, rir/); tests that need it skip without."""
    folder = Path(os.environ.get("SORDINO_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "train" / "manifest.csv").is_file():
        pytest.skip(f"no recordings at {folder}: name their folder in SORDINO_DATA")
    return folder


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Commands flush denormals to zero for speed; the test after one must not notice."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
