"""Any torch module as a teacher: what it takes and gives, how late it is, and how it fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from distill import stft
from distill.teachers.module import ModuleTeacher
from distill.teachers.sources import ModuleSource
from runtime.stft import CONTRACTS, StftContract
from targets.errors import InputError
from tests.distill.foreign import Trailing

CONTRACT = StftContract()
FOREIGN = "tests.distill.foreign"
SAMPLES = 4000


def source(factory: str, **settings: Any) -> ModuleSource:
    return ModuleSource(factory=f"{FOREIGN}:{factory}", **settings)


def open_module(factory: str, **settings: Any) -> ModuleTeacher:
    return ModuleTeacher(source(factory, **settings), CONTRACT, "cpu")


def noise() -> Tensor:
    return 0.1 * torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(1))


HALVES = {
    "waveform": source("trailing", input="waveform", output="waveform"),
    "waveform with a channel": source(
        *("waveform",), input="waveform", output="waveform", input_layout="bcs", output_layout="bcs"
    ),
    "complex spectra": source("trailing", input="spectra", output="spectra"),
    "two parts": source(
        *("parts",), input="spectra", output="spectra", input_layout="bftc", output_layout="bftc"
    ),
    "complex mask": source("mask", arguments={"channels": 2}, input="features", output="mask"),
    "real mask": source("mask", arguments={"channels": 1}, input="features", output="mask"),
    "another contract": source(
        "trailing", input="spectra", output="spectra", contract="hearing-aid"
    ),
    "another rate": source(
        "trailing", input="waveform", output="waveform", contract={"sample_rate": 48_000}
    ),
}


# The highest bin of the other contract leaks into its neighbours; a resampler is not exact.
TOLERANCES = {"another contract": 1e-4, "another rate": 2e-3}


@pytest.mark.parametrize("name", sorted(HALVES))
def test_half_is_half_whatever_a_module_takes_and_gives(name: str) -> None:
    """Every one of these modules halves its input; the highest bin is no part of the contract."""
    teacher = ModuleTeacher(HALVES[name], CONTRACT, "cpu")
    expected = 0.5 * stft.analyse(CONTRACT, noise())
    estimate = teacher.view(noise(), []).estimate
    assert estimate.shape == expected.shape
    inner = slice(2, -4)  # the ends of a resampled signal ring
    highest = 200 if name.startswith("another") else CONTRACT.bins - 1
    found, wanted = estimate[:, inner, 1:highest], expected[:, inner, 1:highest]
    assert (found - wanted).abs().max() < TOLERANCES.get(name, 1e-5)
    denoised = teacher.denoise(noise()[0].numpy())
    assert denoised.shape == (SAMPLES,)


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_a_delay_in_frames_is_compensated(frames: int) -> None:
    settings: dict[str, Any] = {"input": "spectra", "output": "spectra"}
    undelayed = open_module("trailing", **settings).view(noise(), ["tap"])
    late = open_module("trailing", arguments={"delay": frames}, delay=frames, **settings)
    view = late.view(noise(), ["tap"])
    assert torch.equal(view.estimate, undelayed.estimate)
    assert torch.equal(view.taps["tap"], undelayed.taps["tap"])
    if frames:  # and without the compensation they differ
        wrong = open_module("trailing", arguments={"delay": frames}, **settings)
        assert not torch.equal(wrong.view(noise(), ["tap"]).taps["tap"], undelayed.taps["tap"])


@pytest.mark.parametrize("samples", [1, 160, 777])
def test_a_delay_in_samples_is_compensated(samples: int) -> None:
    settings: dict[str, Any] = {"input": "waveform", "output": "waveform"}
    undelayed = open_module("trailing", **settings).view(noise(), ["tap"])
    late = open_module("trailing", arguments={"delay": samples}, delay=samples, **settings)
    view = late.view(noise(), ["tap"])
    assert torch.allclose(view.estimate, undelayed.estimate, atol=1e-6)
    # The tap has one frame a sample. What lies behind the end differs: the one hears it, late.
    found, expected = view.taps["tap"][:, :-2], undelayed.taps["tap"][:, :-2]
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_delay_of_the_taps_alone() -> None:
    settings: dict[str, Any] = {"input": "spectra", "output": "spectra"}
    undelayed = open_module("trailing", **settings).view(noise(), ["tap"])
    late = open_module("trailing", arguments={"delay": 2}, tap_delay=2, **settings)
    view = late.view(noise(), ["tap"])
    assert torch.equal(view.taps["tap"], undelayed.taps["tap"])
    assert not torch.allclose(view.estimate, undelayed.estimate)


def test_a_mask_that_trails_is_put_on_the_frame_it_was_made_for() -> None:
    settings: dict[str, Any] = {"input": "spectra", "output": "mask", "output_layout": "btf"}
    # Trailing gives complex spectra, which serve as a mask that differs from frame to frame.
    undelayed = open_module("trailing", **settings).view(noise(), [])
    late = open_module("trailing", arguments={"delay": 2}, delay=2, **settings)
    assert torch.allclose(late.view(noise(), []).estimate, undelayed.estimate)


def test_the_contract_of_the_module_decides_what_it_hears() -> None:
    contract = StftContract(bins=257, scale=1.0)
    teacher = open_module("trailing", input="spectra", output="spectra", contract=contract)
    assert teacher.tap_shapes(["tap"])["tap"] == (1, 257)
    view = teacher.view(noise(), ["tap"])
    own = stft.analyse(contract, noise())
    assert torch.allclose(view.taps["tap"][:, :, 0], 0.5 * own.abs())
    assert torch.allclose(view.estimate, 0.5 * stft.analyse(CONTRACT, noise()), atol=1e-6)


def test_taps_of_other_frames_come_on_the_students() -> None:
    student = CONTRACTS["hearing-aid"]
    teacher = ModuleTeacher(source("trailing", input="waveform", output="waveform"), student, "cpu")
    assert teacher.view(noise(), ["tap"]).taps["tap"].shape == (2, student.frames(SAMPLES), 1, 1)


def test_weights_are_filled_in_and_part_of_the_key(tmp_path: Path) -> None:
    module = Trailing(0)
    with torch.no_grad():
        module.gain.fill_(0.25)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    settings: dict[str, Any] = {"input": "waveform", "output": "waveform"}
    own = open_module("trailing", **settings)
    filled = open_module("trailing", weights=tmp_path / "w.safetensors", **settings)
    assert np.allclose(filled.denoise(noise()[0].numpy()), 0.25 * noise()[0].numpy(), atol=1e-6)
    assert filled.parameters == 1
    assert filled.key != own.key
    save_file(module.state_dict(), tmp_path / "moved.safetensors")
    assert open_module("trailing", weights=tmp_path / "moved.safetensors", **settings).key == (
        filled.key
    )


def test_a_module_in_the_current_directory_is_found_and_its_code_is_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import torch\nclass Half(torch.nn.Module):\n    def forward(self, x): return 0.5 * x\n"
    keys = []
    for version in (code, code.replace("0.5", "0.25")):
        (tmp_path / "sordino_test_teacher.py").write_text(version)
        monkeypatch.chdir(tmp_path)
        monkeypatch.delitem(sys.modules, "sordino_test_teacher", raising=False)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        settings = ModuleSource(
            factory="sordino_test_teacher:Half", input="waveform", output="waveform"
        )
        keys.append(ModuleTeacher(settings, CONTRACT, "cpu").key)
    assert keys[0] != keys[1]
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("no_such_package.x:build", "Cannot import no_such_package.x: ModuleNotFoundError"),
        (f"{FOREIGN}:nothing", "There is no 'nothing'"),
        (f"{FOREIGN}:NO_FUNCTION", "cannot be called"),
        (f"{FOREIGN}:broken", "failed: RuntimeError: no such luck"),
        (f"{FOREIGN}:mask", "missing 1 required positional argument"),
        (f"{FOREIGN}:number", "returns int, not a torch module"),
    ],
)
def test_a_factory_that_fails_is_one_sentence(factory: str, message: str) -> None:
    settings = ModuleSource(factory=factory, input="waveform", output="waveform")
    with pytest.raises(InputError) as caught:
        ModuleTeacher(settings, CONTRACT, "cpu")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cut", "3993 samples, 4000 were expected"),
        ("nan", "not finite"),
        ("text", "returns str, not a tensor"),
        ("break", "RuntimeError: the module broke in two lines"),
    ],
)
def test_a_module_that_misbehaves_is_one_sentence(what: str, message: str) -> None:
    settings: dict[str, Any] = {"input_layout": "bcs", "output_layout": "bcs"}
    teacher = open_module(
        "waveform", arguments={"what": what}, input="waveform", output="waveform", **settings
    )
    with pytest.raises(InputError) as caught:
        teacher.view(noise(), [])
    assert message in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input": "waveform", "output": "spectra"}, "real numbers"),
        ({"input": "spectra", "output": "mask"}, "3 axes"),
        ({"input": "spectra", "output": "waveform"}, "3 axes"),
        ({"input": "waveform", "output": "waveform", "output_layout": "bcs"}, "2 axes"),
    ],
)
def test_an_output_of_another_kind_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_module("trailing", **settings).view(noise(), [])


def test_weights_that_do_not_fit_or_are_damaged(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"input": "waveform", "output": "waveform"}
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="No weights at"):
        open_module("trailing", weights=path, **settings)
    save_file({"other": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="do not fit") as caught:
        open_module("trailing", weights=path, **settings)
    assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="damaged"):
        open_module("trailing", weights=path, **settings)


def test_a_tap_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(InputError) as caught:
        open_module("trailing", input="waveform", output="waveform").view(noise(), ["tip"])
    assert "tap" in str(caught.value.hint)


@pytest.mark.parametrize("layout", ["bs", "bt", "btff", "bxf", "btfq"])
def test_a_layout_that_names_other_axes_is_refused(layout: str) -> None:
    with pytest.raises(ValidationError, match="does not order the axes"):
        source("trailing", input="spectra", output="spectra", input_layout=layout)


@pytest.mark.parametrize("factory", ["build", "a:", ":b", "a.b", "a-b:c", "a:b:c", "os:system()"])
def test_a_factory_must_name_a_function(factory: str) -> None:
    with pytest.raises(ValidationError, match=r"write package\.module:function"):
        ModuleSource(factory=factory, input="waveform", output="waveform")
