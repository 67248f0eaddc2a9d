"""The kernels as shared libraries, built once for all tests of exactness."""

from __future__ import annotations

import shutil

import pytest

from tests.export.c.exactness.library import FLAVOURS, KernelLibrary


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[KernelLibrary]:
    """The kernels in plain C, and as they are on a core with Arm's DSP instructions."""
    pytest.importorskip("tflite_micro", reason="TFLM is the oracle")
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("kernels")
    return [KernelLibrary(folder, flavour) for flavour in FLAVOURS]
