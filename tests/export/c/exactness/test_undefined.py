"""The kernels do nothing that C leaves undefined, whatever they are fed.

A sanitizer ends the process, so this runs in a child.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.export.c.exactness.library import KERNELS

pytestmark = pytest.mark.slow
REPOSITORY = KERNELS.parents[2]
CHILD = """
import sys
from pathlib import Path
from tests.export.c.exactness.cases import FAMILIES
from tests.export.c.exactness.checking import compare
from tests.export.c.exactness.library import FLAVOURS, KernelLibrary

built, kernels, count, *names = sys.argv[1:]
sanitized = ["-fsanitize=undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
libraries = [
    KernelLibrary(Path(built), flavour, kernels=Path(kernels), extra=sanitized)
    for flavour in FLAVOURS
]
for name in names or FAMILIES:
    for dtype in FAMILIES[name].dtypes:
        print(name, dtype, flush=True)
        compare(FAMILIES[name].draw, dtype, libraries, int(count), seed=4)
"""


def run(built: Path, kernels: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("tflite_micro", reason="TFLM is the oracle")
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    command = [sys.executable, "-c", CHILD, str(built), str(kernels), *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )


def test_nothing_is_undefined(tmp_path: Path) -> None:
    done = run(tmp_path, KERNELS, "200")
    assert done.returncode == 0, f"{done.stdout[-200:]}\n{done.stderr[-2000:]}"


def test_an_overflow_is_found(tmp_path: Path) -> None:
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    text = (kernels / "sum.h").read_text(encoding="utf-8")
    broken = text.replace("(sign * (1 << 14))", "(sign * (1 << 17))")
    assert broken != text
    (kernels / "sum.h").write_text(broken, encoding="utf-8")
    done = run(tmp_path, kernels, "200", "ADD")
    assert done.returncode != 0
    assert "signed integer overflow" in done.stderr
