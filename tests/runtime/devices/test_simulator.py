"""The backend `simulator`: which cores, what a reading says, and what it says of what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from distill.unet import UNetConfig
from runtime.artefact import Artefact
from runtime.devices import artefacts, simulator, zig
from runtime.devices.children import ToolMissing
from runtime.devices.cores import CORES
from runtime.devices.golden import golden_vectors
from runtime.devices.simulation import Difference, GoldenVectors, SimulationReport
from runtime.devices.simulator import asked_for, measure
from runtime.figures import Provenance
from runtime.profiling.backends import Request
from runtime.profiling.records import Reading
from runtime.stft import StftContract
from targets.catalog import load_target
from targets.errors import GateFailed, GateUnavailable, InputError
from tests.runtime.devices import handmade
from tests.runtime.devices.generated import untrained_artefact

LITTLE = UNetConfig(bins=32, widths=(4, 6), hidden=8)
WITHOUT_AUDIO = StftContract(window_length=96, hop=32, fft_size=96, bins=32)
FRAMES = 5
M4 = pytest.mark.skipif(not handmade.installed("cortex-m4"), reason="no Arm compiler or simulator")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return untrained_artefact(tmp_path_factory.mktemp("artefact") / "little", LITTLE)


@dataclass(frozen=True)
class Run:
    """A reading and the reports that it was made of."""

    reading: Reading
    step: SimulationReport
    hop: SimulationReport


@pytest.fixture(scope="module")
def run(artefact: Artefact) -> Run:
    """One real profile, which the tests share."""
    reports = []

    def kept(function: Callable[..., SimulationReport]) -> Callable[..., SimulationReport]:
        def called(*arguments: object, **options: object) -> SimulationReport:
            reports.append(function(*arguments, **options))
            return reports[-1]

        return called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "simulate_artefact", kept(artefacts.simulate_artefact))
        patch.setattr(simulator, "simulate_audio", kept(artefacts.simulate_audio))
        findings = measure([artefact], Request(address="cortex-m4", frames=FRAMES))
    ((reading,),) = findings.readings
    assert findings.ratios == ()
    return Run(reading, *reports)


@pytest.fixture
def replayed(run: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nothing is simulated but the reports of the shared profile are given; the cores asked for."""
    cores: list[str] = []

    def step(artefact: Artefact, core: str, **options: object) -> SimulationReport:
        cores.append(core)
        return run.step.model_copy(update={"core": core})

    monkeypatch.setattr(simulator, "simulate_artefact", step)
    monkeypatch.setattr(simulator, "simulate_audio", lambda *arguments, **options: run.hop)
    return cores


@M4
def test_a_reading_has_all_figures_with_class_and_tool(run: Run, artefact: Artefact) -> None:
    reading = run.reading
    assert (reading.backend, reading.place) == ("simulator", "cortex-m4")
    assert reading.matches is True
    assert reading.difference == ""
    figures = {figure.name.removesuffix(" [cortex-m4]"): figure for figure in reading.figures}
    assert set(figures) >= {
        *("step, median", "step, maximum", "instructions per MAC", "stack of a step"),
        *("flash", "RAM without stack"),
        *("code", "constants", "initialised data", "zeroed data"),
        *("hop of audio, median", "stack of a hop of audio"),
        *("flash with audio", "RAM with audio, without stack"),
    }
    assert all(figure.provenance is Provenance.SIMULATED for figure in reading.figures)
    assert all(figure.tool and figure.conditions for figure in reading.figures)
    step = figures["step, median"]
    assert step.unit == "instructions"
    assert step.low is not None and step.high == figures["step, maximum"].value  # noqa: PT018
    assert step.low <= step.value <= step.high
    value = {name: figure.value for name, figure in figures.items()}
    assert value["flash"] == value["code"] + value["constants"] + value["initialised data"]
    assert value["RAM without stack"] == value["initialised data"] + value["zeroed data"]
    assert value["hop of audio, median"] > value["step, median"]
    assert value["flash with audio"] > value["flash"]
    memory = artefact.sidecar.memory
    audio_ram = value["RAM with audio, without stack"] - value["RAM without stack"]
    assert 0 <= audio_ram - memory["audio_ram"] < 8  # the struct ends at a multiple of 8


@M4
def test_work_of_the_operators_is_that_of_the_step(run: Run, artefact: Artefact) -> None:
    reading = run.reading
    macs = artefact.sidecar.network.macs_per_step
    assert sum(row.macs for row in reading.operators) == macs
    step, per_mac = reading.figures[0], reading.figures[2]
    assert per_mac.value == pytest.approx(step.value / macs)
    counted = sum(row.value or 0 for row in reading.operators)
    assert 0.9 < counted / step.value < 1.1
    for row in reading.operators:
        assert row.unit == "instructions"
        assert row.provenance is Provenance.SIMULATED
        assert row.low is not None and row.high is not None  # noqa: PT018
        assert row.low <= (row.value or 0) <= row.high


@M4
def test_a_mask_that_differs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A golden mask with one bit turned round. The contract has no audio path, and that is said."""
    artefact = untrained_artefact(tmp_path, LITTLE, contract=WITHOUT_AUDIO)

    def turned(artefact: Artefact, frames: int) -> GoldenVectors:
        golden = golden_vectors(artefact, frames)
        masks = golden.masks.copy()
        masks[3, 2] ^= 1
        return replace(golden, masks=masks)

    monkeypatch.setattr(artefacts, "golden_vectors", turned)
    ((found,),) = measure([artefact], Request(address="cortex-m4", frames=FRAMES)).readings
    assert found.matches is False
    assert found.difference.startswith("frame 3, value 2:")
    assert "1 values differ, by 1 at most" in found.difference
    assert [part.reason for part in found.unavailable] == [simulator.NO_AUDIO]
    with pytest.raises(InputError, match="no audio path"):
        artefacts.simulate_audio(artefact, "cortex-m4", frames=2)


@M4
def test_counts_that_do_not_repeat_are_told(artefact: Artefact, run: Run) -> None:
    drifting = run.step.model_copy(update={"repeatable": False})
    found = simulator.reading_of(artefact, drifting, run.hop)
    assert found.matches is False
    assert "differ between 2 runs" in found.difference


@M4
def test_sound_that_differs_is_told(artefact: Artefact, run: Run) -> None:
    assert run.hop.exact
    for largest, close in ((1e-6, True), (0.01, False)):
        difference = Difference(
            frame=1, value=7, expected=0.0, actual=largest, differing=1, largest=largest
        )
        changed = run.hop.model_copy(update={"difference": difference})
        found = simulator.reading_of(artefact, run.step, changed)
        assert found.matches is close
        assert found.difference.startswith("audio: frame 1, value 7:")


@M4
def test_firmware_that_crashes_is_a_reading_that_does_not_match(
    artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashed(*arguments: object, **options: object) -> None:
        raise GateFailed("The processor took a fault.")

    def endless(*arguments: object, **options: object) -> None:
        raise GateUnavailable("qemu-system-arm did not end within 120 s.")

    monkeypatch.setattr(simulator, "simulate_artefact", crashed)
    ((found,),) = measure([artefact], Request(address="cortex-m4")).readings
    assert (found.matches, found.difference) == (False, "The processor took a fault.")
    monkeypatch.setattr(simulator, "simulate_artefact", endless)
    with pytest.raises(GateUnavailable):
        measure([artefact], Request(address="cortex-m4"))
    found = measure([artefact], Request()).readings[0][0]
    assert (found.matches, found.figures) == (None, ())
    assert "120 s" in found.unavailable[0].reason


def test_cores_are_those_of_the_address_or_the_target() -> None:
    assert asked_for(Request()) == ()
    assert asked_for(Request(address="cortex-m4, rv32imac,cortex-m4")) == ("cortex-m4", "rv32imac")
    assert asked_for(Request(target=load_target("cortex-m55"))) == ("cortex-m55",)
    both = Request(address="cortex-m7", target=load_target("cortex-m55"))
    assert asked_for(both) == ("cortex-m7",)
    assert asked_for(Request(target=load_target("cortex-m0plus"))) == ("cortex-m0plus",)
    with pytest.raises(InputError, match="cortex-m9"):
        asked_for(Request(address="cortex-m9"))
    with pytest.raises(InputError, match=r"phone .* cannot be simulated"):
        asked_for(Request(target=load_target("phone")))


@M4
def test_a_core_that_another_stands_for_says_so(artefact: Artefact, replayed: list[str]) -> None:
    request = Request(target=load_target("cortex-m0plus"))
    ((found,),) = measure([artefact], request).readings
    assert (found.place, replayed) == ("cortex-m0", ["cortex-m0"])
    assert "cortex-m0plus executes the code of cortex-m0" in found.figures[0].conditions


@M4
def test_what_is_not_c_is_refused_or_passed_over(artefact: Artefact, replayed: list[str]) -> None:
    other = artefact.model_copy(update={"path": artefact.path.with_suffix(".tflite")})
    with pytest.raises(InputError, match=r"model\.tflite is not C") as caught:
        measure([other], Request())
    assert "c-int8" in caught.value.hint
    passed, found = measure([other, artefact], Request(address="cortex-m4")).readings
    assert "c-int8" in passed[0].unavailable[0].reason
    assert found[0].matches
    assert replayed == ["cortex-m4"]


def test_missing_tools_are_refused_or_passed_over(
    artefact: Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tools of Arm alone all but RISC-V is simulated, and nothing without any."""
    monkeypatch.setattr(zig, "available", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for request in (Request(address="rv32imac"), Request()):
        with pytest.raises(ToolMissing) as caught:
            measure([artefact], request)
        assert caught.value.exit_code == 3
        assert "apt install" in caught.value.hint
    for name in ("arm-none-eabi-gcc", "qemu-system-arm"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert shutil.which("qemu-system-arm") == str(tmp_path / "qemu-system-arm")

    def crashed(*arguments: object, **options: object) -> None:
        raise GateFailed("Not run here.")

    monkeypatch.setattr(simulator, "simulate_artefact", crashed)
    with pytest.raises(ToolMissing, match="golden masks"):
        measure([artefact], Request())
    (tmp_path / "cc").symlink_to(tmp_path / "arm-none-eabi-gcc")
    (found,) = measure([artefact], Request()).readings
    assert len(found) == len(CORES)
    assert [part.place for part in found if part.unavailable] == ["rv32imac"]
    assert "riscv64-unknown-elf" in found[-1].unavailable[0].reason


@M4
def test_floats_are_left_out_on_cores_that_compute_them_in_software(
    artefact: Artefact, replayed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    floats = [artefact.sidecar.inputs[0].model_copy(update={"dtype": "float32"})]
    sidecar = artefact.sidecar.model_copy(update={"inputs": tuple(floats)})
    artefact = artefact.model_copy(update={"sidecar": sidecar})
    few = {name: CORES[name] for name in ("cortex-m3", "cortex-m4")}
    monkeypatch.setattr(simulator, "CORES", few)
    (found,) = measure([artefact], Request()).readings
    assert "floating-point" in found[0].unavailable[0].reason
    assert replayed == ["cortex-m4"]
    ((asked,),) = measure([artefact], Request(address="cortex-m3")).readings
    assert asked.figures
