"""Generated C on a device: steps, operators and whole hops of audio in one reading."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from runtime.artefact import Artefact
from runtime.contract import StftContract
from runtime.devices import golden
from runtime.devices.linux import measure_on
from runtime.devices.linux_device import Core, Device
from runtime.devices.linux_figures import Bench, core_in_words
from runtime.devices.linux_runner import Histogram, RunnerResults
from runtime.engines.native_audio import NativeAudio, open_audio
from runtime.figures import Provenance
from runtime.profiling.backends import Request
from runtime.profiling.records import Reading
from runtime.stft import FloatArray
from tests.runtime.devices.local_shell import LocalShell
from tests.runtime.test_native_audio import c_of, listening
from tests.runtime.tiny_c import write_c_artefact
from tests.runtime.tiny_models import write_artefact

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc not installed")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
REQUEST = Request(seconds=0.05, frames=6)


def measured(artefact: Artefact, folder: Path) -> Reading:
    for name in ("device", "here"):
        (folder / name).mkdir()
    shell = LocalShell(folder / "device")
    found = measure_on(shell, "ssh", "address", [artefact], REQUEST, folder / "here")
    assert list((folder / "device").iterdir()) == []
    ((reading,),) = found.readings
    return reading


@needs_compiler
def test_a_whole_hop_of_audio_is_timed_and_compared_as_well(tmp_path: Path) -> None:
    artefact = c_of(listening(tmp_path, "tflite-fp32", StftContract()))
    reading = measured(artefact, tmp_path)
    assert reading.matches
    assert reading.difference == ""
    values = {figure.name: figure.value for figure in reading.figures}
    step, hop = (values[f"{name}, median [local device]"] for name in ("step", "hop of audio"))
    assert step > 0
    assert 0 < hop <= values["hop of audio, p99 [local device]"]
    assert reading.unavailable == ()
    assert {row.kind for row in reading.operators} >= {"CONV_2D"}


@needs_compiler
@pytest.mark.slow
def test_sound_that_differs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Louder(NativeAudio):
        def push(self, block: FloatArray) -> FloatArray:
            return super().push(block) + np.float32(0.01)

    def louder(artefact: Artefact) -> NativeAudio:
        audio = open_audio(artefact)
        audio.__class__ = Louder
        return audio

    monkeypatch.setattr(golden, "open_audio", louder)
    reading = measured(c_of(listening(tmp_path, "tflite-fp32", StftContract())), tmp_path)
    assert reading.matches is False
    assert reading.difference.startswith("audio: frame 0, value 0:")


@needs_compiler
def test_without_an_audio_path_its_times_are_unavailable(tmp_path: Path) -> None:
    reading = measured(write_c_artefact(tmp_path / "c"), tmp_path)
    assert reading.matches
    assert [part.name for part in reading.unavailable] == ["hop of audio [local device]"]


def test_a_format_that_nothing_runs_is_unavailable(tmp_path: Path) -> None:
    reading = measured(write_artefact(tmp_path, "onnx-fp32"), tmp_path)
    assert reading.matches is None
    assert "no program there runs this format" in reading.unavailable[0].reason


def results(before: int, after: int) -> RunnerResults:
    one = np.ones(1)
    return RunnerResults(
        masks=np.zeros((1, 1), np.int8),
        cpu=3,
        warm_up=1,
        timed=1,
        minimum=1,
        maximum=1,
        clock=1,
        before=before,
        after=after,
        memory=0,
        emulated=False,
        steps=Histogram(one, one.astype(np.int64)),
        operators=np.zeros((0, 1), np.uint32),
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1_800_000, 1_800_000, "core 3 at 1,800 MHz, governor ondemand"),
        (1_800_000, 1_500_000, "core 3 at 1,800 to 1,500 MHz, governor ondemand"),
        (0, 0, "core 3, frequency not read (at most 2,400 MHz), governor ondemand"),
    ],
)
def test_the_frequency_of_the_core_is_told(before: int, after: int, expected: str) -> None:
    core = Core(3, fastest_khz=2_400_000, governor="ondemand")
    assert core_in_words(core, results(before, after)) == expected
    assert core_in_words(Core(1)) == "core 1, frequency unknown"


@pytest.mark.skipif(not BOOT_ID.exists(), reason="not Linux")
def test_only_another_machine_is_a_device() -> None:
    def provenance(boot_id: str) -> Provenance:
        device = Device("Board", "aarch64", "Linux", (Core(0),), boot_id)
        return Bench("ssh x", "ssh", "x", device, Core(0)).provenance

    assert provenance("of another kernel") is Provenance.MEASURED_DEVICE
    assert provenance("") is Provenance.MEASURED_DEVICE
    assert provenance(BOOT_ID.read_text().strip()) is Provenance.MEASURED_HOST
