"""Where its tool is missing every place says so: status 3, what to install, and no figure."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import pytest

from runtime.artefact import Artefact
from runtime.profile_cli import profile
from runtime.profiling.backends import BACKENDS
from tests.runtime.fakes import invoke
from tests.runtime.tiny_c import write_c_artefact
from tests.runtime.tiny_models import write_artefact

ADDRESSES = {
    "simulator": ":cortex-m4",
    "vela": ":ethos-u55-128/Ethos_U55_High_End_Embedded/Shared_Sram",
    "ssh": ":pi@nowhere.invalid",
    "serial": ":/dev/ttyNOWHERE",
}
WITH_TOOLS = [name for name, info in BACKENDS.items() if info.programs or info.distributions]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with Python and nothing else."""

    def absent(name: str) -> NoReturn:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(metadata, "version", absent)
    for module in ("serial", "ziglang", "ethosu", "ai_edge_litert", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artefact]:
    c = write_c_artefact(tmp_path_factory.mktemp("c"))
    tflite = write_artefact(tmp_path_factory.mktemp("tflite"), "tflite-int8")
    return {name: tflite if name in ("host", "vela") else c for name in BACKENDS}


def test_every_backend_that_needs_a_tool_is_tried() -> None:
    assert {"host", "simulator", "vela", "adb", "ssh", "serial"} <= set(WITH_TOOLS)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", WITH_TOOLS)
def test_it_refuses_with_status_3_and_a_hint(
    name: str, artefacts: dict[str, Artefact], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    written = tmp_path / "profile.json"
    arguments = (artefacts[name].path, "--on", f"{name}{ADDRESSES.get(name, '')}", "-o", written)
    outcome = invoke(capfd, profile, *arguments, "--seconds", "0.1")
    assert outcome.status == 3, outcome.err
    error, hint = outcome.err.splitlines()[:2]
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    assert "install" in hint
    assert "measured-" not in outcome.out
    assert "simulated" not in outcome.out
    assert "modelled" not in outcome.out
