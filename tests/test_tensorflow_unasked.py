"""TensorFlow takes seconds to import and is no one's dependency: only its witness imports it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.runtime.tiny_models import write_artefact
from tests.walls import ROOMS, imports_of

WITNESS = Path("export", "witness")

# A package of that name that leaves a trace when it is imported, by whomever.
DECOY = "import pathlib, sys\npathlib.Path(__file__).with_name('imported').write_text('yes')\n"

CHILD = """
import importlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
for path in sorted(p for room in sys.argv[2:] for p in (root / room).rglob("*.py")):
    if path.name != "__main__.py":
        importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
import sordino
commands = (
    "denoise noisy.wav clean.wav --model tiny-tflite-int8.tflite",
    "profile tiny-tflite-int8.tflite --seconds 0.1",
    "verify tiny-tflite-int8.tflite",
    "targets",
    "budget tiny",
    "doctor",
)
for command in commands:
    sordino.main(command.split())
"""


def test_only_the_witness_imports_it_and_only_when_called(repository: Path) -> None:
    for room in ROOMS[:-1]:
        for path in (repository / room).rglob("*.py"):
            for found in imports_of(path.read_text("utf-8")):
                if found.top == "tensorflow":
                    place = path.relative_to(repository)
                    assert WITNESS in place.parents, f"{place}:{found.line}"
                    assert not found.at_start, f"{place}:{found.line}"


@pytest.mark.slow
def test_no_module_and_no_command_imports_it(repository: Path, tmp_path: Path) -> None:
    decoys = tmp_path / "decoys"
    decoys.mkdir()
    (decoys / "tensorflow.py").write_text(DECOY)
    write_artefact(tmp_path, "tflite-int8")
    soundfile.write(tmp_path / "noisy.wav", np.zeros(1600), 16_000)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(repository), *ROOMS[:-1]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(repository), str(decoys)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clean.wav").is_file(), done.stderr
    assert not (decoys / "imported").exists()
    trace = subprocess.run(
        [sys.executable, "-c", "import tensorflow"],
        env={**os.environ, "PYTHONPATH": str(decoys)},
        check=False,
    )
    assert trace.returncode == 0
    assert (decoys / "imported").exists()  # the decoy does leave its trace
