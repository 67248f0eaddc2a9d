"""The import walls hold, and the check that says so finds each kind of breach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.walls import imports_of, violations


def test_walls_hold(repository: Path) -> None:
    assert violations(repository) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("targets/fit.py", "import runtime.artefact\n", "stands behind targets"),
        ("runtime/stepper.py", "from distill.unet import UNet\n", "stands behind runtime"),
        ("runtime/stepper.py", "def f():\n    import distill\n", "stands behind runtime"),
        ("distill/unet.py", "from export import lowering\n", "stands behind distill"),
        ("export/lowering.py", "import sordino\n", "stands behind export"),
        ("export/gates/exact.py", "from . import other\n", "relative import"),
        ("runtime/stft.py", "import torch\n", "may not import torch"),
        ("runtime/engines/fast.py", "def f():\n    import tensorflow.lite\n", "tensorflow.lite"),
        ("targets/schema.py", "import numpy as np\n", "may not import numpy"),
        ("distill/unet.py", "import onnxscript\n", "may not import onnxscript"),
        ("distill/cli.py", "import torch\n", "before a command is called"),
        ("distill/data_cli.py", "from distill.corpus import scan\n", "before a command is called"),
        ("runtime/cli.py", "try:\n    import numpy\nexcept ImportError: ...\n", "before a command"),
        ("runtime/__init__.py", "from runtime.stft import X\n", "before a command is called"),
        ("sordino.py", "from runtime.stft import StftContract\n", "before a command is called"),
    ],
)
def test_each_breach_is_found(tmp_path: Path, file: str, source: str, complaint: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    (found,) = violations(tmp_path)
    assert found.startswith(f"{file}:")
    assert complaint in found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("export/cli.py", "import click\ndef f():\n    import torch\n    import distill.unet\n"),
        ("export/cli.py", "if TYPE_CHECKING:\n    from runtime.artefact import Artefact\n"),
        ("export/__main__.py", "from export.cli import export\nfrom targets.command import run\n"),
        ("runtime/metrics.py", "import json, numpy\ndef f():\n    import pesq\n"),
    ],
)
def test_what_is_allowed_is_not_reported(tmp_path: Path, file: str, source: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert violations(tmp_path) == []


def test_the_branch_after_type_checking_counts_as_start() -> None:
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
    assert [(found.module, found.at_start) for found in imports_of(source)] == [
        ("a", False),
        ("b", True),
    ]


# Absent on a device that installed `sordino` without extras.
OPTIONAL = (
    *("torch", "safetensors", "yaml", "scipy"),
    *("onnx", "onnxscript", "onnxsim", "flatbuffers", "ml_dtypes", "tflite_micro", "tensorflow"),
    *("pesq", "pystoi"),
    *("distill", "export"),
)
ENGINES = ("onnxruntime", "ai_edge_litert", "tflite_micro")

PROBE = """
import importlib, json, pathlib, sys
root, blocked = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
sys.path.insert(0, str(root))
sys.modules.update(dict.fromkeys(blocked))  # None in sys.modules: the import fails as if absent
files = [*root.glob("targets/**/*.py"), *root.glob("runtime/**/*.py"), root / "sordino.py"]
for path in sorted(files):
    if path.name != "__main__.py" and "engines" not in path.parts:
        importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
print(json.dumps(sorted(name for name, module in sys.modules.items() if module)))
"""


def test_a_device_needs_no_extra_and_loads_no_engine_before_it_is_used(repository: Path) -> None:
    command = [sys.executable, "-c", PROBE, str(repository), json.dumps(OPTIONAL)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "runtime" in loaded
    assert not loaded & {*ENGINES, *OPTIONAL}
