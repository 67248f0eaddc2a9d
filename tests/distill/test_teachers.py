"""Teachers: a U-Net of any contract, time between contracts, and opening what a recipe names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distill import stft
from distill.checkpoint import CheckpointRecord, save_checkpoint
from distill.recipe import Teacher as Section
from distill.teachers import cache_folder, open_teacher
from distill.teachers.alignment import (
    at_positions,
    centre_offset,
    frame_centres,
    resample,
    tap_positions,
)
from distill.teachers.sources import ModuleSource, OnnxSource
from distill.training import enhance
from distill.unet import UNet, UNetConfig
from runtime.stft import CONTRACTS, StftContract
from targets.errors import InputError

CONTRACT = StftContract(bins=64)
SMALL = UNetConfig(bins=64, widths=(4, 6), hidden=8, patch=8)
LATENT = "bottleneck.latent"


def saved(folder: Path, config: UNetConfig = SMALL, contract: StftContract = CONTRACT) -> UNet:
    """A fresh network, kept in ``folder`` as a checkpoint."""
    torch.manual_seed(0)
    network = UNet(config).eval()
    record = CheckpointRecord(
        role="teacher",
        preset="custom",
        architecture=config,
        contract=contract,
        data="demo",
        recipe={},
    )
    save_checkpoint(folder, network, record)
    return network


def noise(batch: int = 2, samples: int = 4000) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(1))


def test_a_unet_in_the_students_contract_is_seen_as_it_is(tmp_path: Path) -> None:
    network = saved(tmp_path)
    teacher = open_teacher(Section(checkpoint=tmp_path), CONTRACT, "cpu", None)
    signals = noise()
    view = teacher.view(signals, (LATENT, "encoder.1"))
    spectra = stft.analyse(CONTRACT, signals)
    with torch.no_grad():
        output = network(stft.features(CONTRACT, spectra))
    assert torch.allclose(view.taps[LATENT][:, :, 0], output.latent, atol=1e-6)
    assert torch.allclose(view.estimate, stft.apply_mask(CONTRACT, spectra, output.mask))
    assert view.taps["encoder.1"].shape == (2, CONTRACT.frames(4000), 4, 6)
    assert not view.estimate.requires_grad
    assert dict(teacher.tap_shapes((LATENT,))) == {LATENT: (1, 8)}
    assert teacher.parameters == sum(p.numel() for p in network.parameters())
    denoised = teacher.denoise(signals[0].numpy())
    assert np.allclose(denoised, enhance(network, CONTRACT, signals[0].numpy()), atol=1e-6)


def test_the_latents_of_a_teacher_with_look_ahead_lie_on_the_frames_they_describe(
    tmp_path: Path,
) -> None:
    config = SMALL.model_copy(update={"look_ahead": 3})
    network = saved(tmp_path, config)
    teacher = open_teacher(Section(checkpoint=tmp_path), CONTRACT, "cpu", None)
    view = teacher.view(noise(), (LATENT, "encoder.1", "bottleneck.gru"))
    with torch.no_grad():
        output = network(stft.features(CONTRACT, stft.analyse(CONTRACT, noise())))
    assert torch.allclose(view.taps[LATENT][:, :, 0], output.latent, atol=1e-6)
    # The GRU itself runs three frames longer: its first three outputs describe no frame.
    assert torch.equal(view.taps["bottleneck.gru"], view.taps[LATENT])
    assert view.taps["encoder.1"].shape[1] == view.estimate.shape[1]


@pytest.mark.parametrize("name", ["mcu", "hearing-aid", "wide"])
def test_a_teacher_of_another_contract_is_seen_on_the_students_frames(
    tmp_path: Path, name: str
) -> None:
    saved(tmp_path)
    student = StftContract(sample_rate=8000) if name == "wide" else CONTRACTS[name]
    signals = noise()
    view = open_teacher(Section(checkpoint=tmp_path), student, "cpu", None).view(signals, [LATENT])
    assert view.estimate.shape == (2, student.frames(4000), student.frequencies)
    assert view.taps[LATENT].shape == (2, student.frames(4000), 1, 8)
    if name == "wide":
        return
    own = open_teacher(Section(checkpoint=tmp_path), CONTRACT, "cpu", None)
    expected = own.denoise(signals[0].numpy())
    found = stft.synthesise(student, view.estimate, 4000)[0].numpy()
    assert np.allclose(found, expected, atol=1e-5)


def test_the_same_frames_in_another_scale_need_no_waveform(tmp_path: Path) -> None:
    saved(tmp_path)
    student = StftContract(bins=257, scale=1.0)
    view = open_teacher(Section(checkpoint=tmp_path), student, "cpu", None).view(noise(), [])
    own = open_teacher(Section(checkpoint=tmp_path), CONTRACT, "cpu", None).view(noise(), [])
    assert torch.allclose(view.estimate * CONTRACT.scale, own.estimate, atol=1e-6)


def test_keys_cover_weights_and_contract(tmp_path: Path) -> None:
    other = CONTRACT.model_copy(update={"compression": 0.5})
    saved(tmp_path / "a")
    saved(tmp_path / "b", contract=other)
    network = saved(tmp_path / "c")
    with torch.no_grad():
        next(network.parameters()).add_(1.0)
    record = CheckpointRecord.model_validate_json((tmp_path / "c/checkpoint.json").read_bytes())
    save_checkpoint(tmp_path / "c", network, record)
    saved(tmp_path / "again")
    keys = {
        name: open_teacher(Section(checkpoint=tmp_path / name), CONTRACT, "cpu", None).key
        for name in ("a", "b", "c", "again")
    }
    assert keys["a"] == keys["again"]
    assert len(set(keys.values())) == 3


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_frame_speaks_of_the_centre_of_its_window(name: str) -> None:
    """A click where the centre of a frame is said to lie is loudest in that frame."""
    contract = CONTRACTS[name]
    click = torch.zeros(1, 8000)
    frame = 20
    click[0, int(frame_centres(contract, frame + 1)[frame].round())] = 1.0
    energy = stft.analyse(contract, click).abs().square().sum(-1)[0]
    assert int(energy.argmax()) == frame
    assert 0 < centre_offset(contract) < contract.window_length


def test_frames_of_two_contracts_meet_in_time() -> None:
    own, student = CONTRACTS["phone"], CONTRACTS["hearing-aid"]
    samples = 8000
    positions = tap_positions(student, student.frames(samples), own, samples, own.frames(samples))
    moments = at_positions(frame_centres(own, own.frames(samples))[None], positions)[0]
    expected = frame_centres(student, student.frames(samples))
    inside = (expected > 0) & (expected < samples - own.window_length)
    assert torch.allclose(moments[inside], expected[inside])


def test_a_tap_of_unknown_framing_is_taken_to_divide_the_signal_evenly() -> None:
    contract = StftContract()
    # Of 8000 samples a tap with 1000 frames describes eight each, centred on 3.5 + 8·i.
    tap = (torch.arange(1000, dtype=torch.float64) + 0.5) * 8.0
    positions = tap_positions(contract, contract.frames(8000), contract, 8000, 1000)
    moments = at_positions(tap[None], positions)[0]
    expected = frame_centres(contract, contract.frames(8000)).clamp(4.0, 7996.0)
    assert torch.allclose(moments, expected)


def test_whole_positions_are_met_exactly() -> None:
    tap = torch.randn(1, 5, 2, 3)
    assert torch.equal(at_positions(tap, torch.tensor([2.0 - 1e-9, 0.0, 9.0])), tap[:, [2, 0, 4]])


def test_resampling_there_and_back_keeps_time_and_length() -> None:
    signal = torch.sin(2 * torch.pi * 400 / 16_000 * torch.arange(16_001))[None]
    back = resample(resample(signal, 16_000, 48_000), 48_000, 16_000)
    assert back.shape == signal.shape
    assert torch.allclose(back[:, 500:-500], signal[:, 500:-500], atol=1e-3)


def test_exactly_one_teacher_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names none"):
        open_teacher(Section(), CONTRACT, "cpu", None)
    both = Section.model_construct(
        checkpoint=tmp_path,
        module=ModuleSource(factory="a:b", input="waveform", output="waveform"),
    )
    with pytest.raises(InputError, match="checkpoint and module"):
        open_teacher(both, CONTRACT, "cpu", None)


def test_a_cache_is_where_the_recipe_says_and_always_there_for_onnx(tmp_path: Path) -> None:
    onnx = Section(onnx=OnnxSource(model=tmp_path / "a.onnx"))
    assert cache_folder(onnx, None, tmp_path) == tmp_path / "teacher-cache"
    assert cache_folder(onnx, tmp_path / "x", tmp_path) == tmp_path / "x"
    assert cache_folder(Section(checkpoint=tmp_path), None, tmp_path) is None
