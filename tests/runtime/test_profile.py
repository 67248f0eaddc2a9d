"""Profiles: every figure with its provenance, what cannot be had with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.artefact import Artefact, load_artefact
from runtime.benchmark import (
    BenchmarkUnavailable,
    measure_arena,
    measure_loading,
)
from runtime.cli import profile
from runtime.doctor import installed_version
from runtime.figures import Provenance
from runtime.profile import Profile, profile_artefact
from targets.catalog import load_target
from targets.errors import InputError
from targets.fit import arena_with_margin
from tests.runtime.fakes import invoke, needs_tflm
from tests.runtime.tiny_models import write_artefact

QUICK = 0.2  # seconds of timing


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return write_artefact(tmp_path_factory.mktemp("model"), "tflite-int8")


# Profiles name the arena of TFLM; that they can do without it is a test of its own.
pytestmark = needs_tflm


@pytest.fixture(scope="module")
def profiled(artefact: Artefact) -> Profile:
    engines = ("litert", "tflm")
    return profile_artefact(
        artefact, engines=engines, seconds=QUICK, target=load_target("cortex-m4")
    )


def test_what_can_be_counted_is_exact(profiled: Profile, artefact: Artefact) -> None:
    size = profiled.figure("model size")
    assert size is not None
    assert size.value == artefact.path.stat().st_size
    assert size.provenance is Provenance.EXACT
    per_second = profiled.figure("work per second")
    assert per_second is not None
    assert per_second.value == artefact.sidecar.network.macs_per_step * 62.5
    assert profiled.operators == {"CONCATENATION": 1, "CONV_2D": 2}


@pytest.mark.parametrize("engine", ["litert", "tflm"])
def test_latency_is_measured_and_ordered(profiled: Profile, engine: str) -> None:
    figures = [profiled.figure(f"step, {rank} [{engine}]") for rank in ("median", "p95", "p99")]
    values = [figure.value for figure in figures if figure is not None]
    assert len(values) == 3
    assert 0 < values[0] <= values[1] <= values[2]
    share = profiled.figure(f"step of hop, median [{engine}]")
    whole = profiled.figure(f"whole hop, median [{engine}]")
    assert share is not None
    assert share.value == pytest.approx(100 * values[0] / 16_000)
    assert whole is not None
    assert whole.value > values[0]
    assert whole.provenance is Provenance.MEASURED_HOST
    assert "1 thread" in whole.conditions
    assert "in turns" in whole.conditions


def test_memory_and_arena_are_measured(profiled: Profile) -> None:
    for engine in ("litert", "tflm"):
        memory = profiled.figure(f"peak memory [{engine}]")
        assert memory is not None
        assert 10_000 < memory.value < 100_000_000
    arena, reserve = profiled.figure("TFLM arena"), profiled.figure("TFLM arena to reserve")
    assert arena is not None
    assert reserve is not None
    # The activations that live at once: two features, their concatenation and a mask, in bytes.
    assert 3 * 256 * 3 < arena.value < 20_000
    assert "estimated ±10 %, kernel scratch excluded" in arena.conditions
    assert reserve.value == arena_with_margin(int(arena.value)) >= arena.value + 2048
    assert reserve.provenance is Provenance.MODELLED


def test_the_fit_uses_the_figures(profiled: Profile) -> None:
    assert profiled.fit is not None
    lines = {line.budget: line for line in profiled.fit.lines}
    reserve = profiled.figure("TFLM arena to reserve")
    assert reserve is not None
    assert lines["RAM"].needs == reserve.value
    assert lines["format"].verdict == "fits"
    assert lines["operators"].verdict == "fits"


def test_a_missing_engine_is_unavailable_with_the_reason(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "runtime.doctor.installed_version",
        lambda names: "" if "tflite-micro" in names else installed_version(names),
    )
    result = profile_artefact(artefact, engines=("litert", "tflm"), seconds=QUICK)
    reasons = {lacking.name: lacking.reason for lacking in result.unavailable}
    assert set(reasons) >= {"step [tflm]", "load [tflm]", "peak memory [tflm]", "TFLM arena"}
    assert all("tflite-micro" in reason for name, reason in reasons.items() if "litert" not in name)
    assert result.figure("step, median [litert]") is not None
    assert result.figure("TFLM arena") is None


def test_onnx_has_no_arena(tmp_path: Path) -> None:
    result = profile_artefact(write_artefact(tmp_path, "onnx-fp32"), seconds=QUICK)
    assert result.engines == ("onnxruntime",)
    assert [lacking.name for lacking in result.unavailable] == ["TFLM arena"]


def test_a_benchmark_whose_child_dies_says_so(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "import os; os.abort()"
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(BenchmarkUnavailable, match="failed"):
        measure_arena(artefact)
    folder = artefact.path.parent / "python"
    folder.write_text(f"#!/bin/sh\nexec /usr/bin/env python3 -c '{crash}'\n")
    folder.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(folder))
    with pytest.raises(BenchmarkUnavailable, match="crashed"):
        measure_loading(artefact, "litert")


def test_unknown_engines_and_targets_are_bad_input(
    artefact: Artefact, capfd: pytest.CaptureFixture[str]
) -> None:
    for option, name in (("--engine", "warp"), ("--target", "toaster")):
        outcome = invoke(capfd, profile, artefact.path, option, name)
        assert outcome.status == 2
        assert name in outcome.err
        assert "Hint:" in outcome.err


def test_the_command_prints_json_and_tables(
    artefact: Artefact, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = (artefact.path, "--seconds", QUICK, "--target", "tflite-int8")
    outcome = invoke(capfd, profile, *arguments, "--json")
    report = Profile.model_validate(json.loads(outcome.out))
    assert report.sha256 == load_artefact(artefact.path).sidecar.model.sha256
    assert all(figure.tool for figure in report.figures)
    tables = invoke(capfd, profile, *arguments).out
    for text in ("measured-host", "TFLM arena", "CONV_2D", "Fit to tflite-int8", "of hop"):
        assert text in tables


def test_an_unknown_engine_never_starts_a_child(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr("subprocess.run", forbidden)
    with pytest.raises(InputError, match="No engine is called"):
        profile_artefact(artefact, engines=("warp",))
