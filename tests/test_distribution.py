"""The wheel carries what the packages need and asks for no more than the runtime does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOMS = ("targets", "runtime", "distill", "export")
FILES = ("sordino.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for room in ROOMS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / room, source / room, ignore=ignore)
    for file in FILES:
        shutil.copy(repository / file, source)
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(built), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = built.glob("*.whl")
    return path


def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


@pytest.mark.slow
def test_every_file_of_the_packages_is_in_the_wheel(repository: Path, wheel: Path) -> None:
    packed = set(ZipFile(wheel).namelist())
    expected = {
        path.relative_to(repository).as_posix()
        for room in ROOMS
        for path in (repository / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - packed == set()
    assert {name.partition("/")[0] for name in packed if ".dist-info/" not in name} == {
        *ROOMS,
        "sordino.py",
    }


@pytest.mark.slow
def test_the_wheel_alone_asks_only_for_the_runtime(wheel: Path) -> None:
    needed = metadata(wheel).get_all("Requires-Dist") or []
    base = {line.partition(">")[0] for line in needed if "extra ==" not in line}
    assert base == {
        *("ai-edge-litert", "click", "numpy", "onnxruntime"),
        *("pydantic", "rich", "soundfile", "soxr"),
    }


@pytest.mark.slow
def test_the_wheel_runs_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    unpacked = tmp_path / "site"
    ZipFile(wheel).extractall(unpacked)
    done = subprocess.run(
        [sys.executable, "-m", "sordino", "targets", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tflite-int8" in done.stdout


def test_every_requirement_is_pinned(repository: Path) -> None:
    """What an extra asks for by name has one exact version in constraints.txt."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {line.partition(">")[0].partition("=")[0].lower() for group in groups for line in group}
    lines = (repository / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    assert {name for name in names if not name.startswith("sordino[")} <= pinned


def test_no_pin_contradicts_the_project(repository: Path) -> None:
    """Exact pins stand in two files: they must agree."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    asked = [line for extra in project["optional-dependencies"].values() for line in extra]
    exact = {line.partition(";")[0].strip() for line in asked if "==" in line.partition(";")[0]}
    assert exact <= set((repository / "constraints.txt").read_text().splitlines())
    assert any(pin.startswith("torch==") for pin in exact)
