"""The teacher cache: heard once, read afterwards, the same numbers, whatever happens to files."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distill.teachers.cached import CachedTeacher
from distill.views import TapShape, View
from runtime.stft import FloatArray, StftContract
from targets.errors import InputError

CONTRACT = StftContract()
FRAMES, CHANNELS = 6, 5


class Counting:
    """A teacher whose view is made of the samples themselves, and that counts what it hears."""

    def __init__(self, key: str = "a", level: float = 1.0) -> None:
        self.name, self.key, self.parameters, self.level = "counting", key, 7, level
        self.heard = 0

    def tap_paths(self) -> list[str]:
        return ["latent", "other"]

    def tap_shapes(self, paths: Sequence[str]) -> Mapping[str, TapShape]:
        return {path: TapShape(1, CHANNELS) for path in paths}

    def view(self, noisy: Tensor, paths: Sequence[str]) -> View:
        self.heard += len(noisy)
        frames = noisy[:, : FRAMES * 2 * CHANNELS].reshape(len(noisy), FRAMES, CHANNELS, 2)
        estimate = torch.view_as_complex((frames * self.level).contiguous())
        return View(estimate, {path: frames[..., 0].unsqueeze(2) * len(path) for path in paths})

    def denoise(self, noisy: FloatArray) -> FloatArray:
        return noisy


def noise(seed: int = 0, batch: int = 3) -> Tensor:
    return torch.randn(batch, 100, generator=torch.Generator().manual_seed(seed))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def same(one: View, other: View) -> bool:
    return torch.equal(one.estimate, other.estimate) and all(
        torch.equal(one.taps[path], other.taps[path]) for path in one.taps
    )


def test_a_mixture_is_heard_once(tmp_path: Path) -> None:
    teacher = Counting()
    cached = CachedTeacher(teacher, CONTRACT, tmp_path)
    first = cached.view(noise(), ("latent",))
    second = cached.view(noise(), ("latent",))
    assert teacher.heard == 3
    assert same(first, second)  # to the bit: a run does not depend on what was cached before it
    mixed = torch.cat((noise()[1:2], noise(seed=1)))
    view = cached.view(mixed, ("latent",))
    assert teacher.heard == 6
    assert torch.equal(view.estimate[0], first.estimate[1])
    assert len(entries(tmp_path)) == 6


def test_cached_is_uncached_within_the_rounding_of_float16(tmp_path: Path) -> None:
    for level in (1e-6, 1.0, 1e6):
        plain = Counting(level=level).view(noise(), ("latent",))
        kept = CachedTeacher(Counting(str(level), level), CONTRACT, tmp_path).view(
            noise(), ("latent",)
        )
        error = (kept.estimate - plain.estimate).abs() / plain.estimate.abs()
        assert error.max() < 2e-3  # of each value, however soft or loud
        assert torch.allclose(kept.taps["latent"], plain.taps["latent"], rtol=1e-3, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False), min_size=60, max_size=60
    )
)
def test_any_finite_frame_survives(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    signal = torch.tensor(values)[None]
    cached = CachedTeacher(Counting(), CONTRACT, tmp_path_factory.mktemp("cache"))
    frames = Counting().view(signal, ()).estimate
    kept = cached.view(signal, ()).estimate
    loudest = torch.view_as_real(frames).abs().amax(dim=(2, 3))
    error = torch.view_as_real(kept - frames).abs().amax(dim=(2, 3))
    assert bool((error <= loudest * 2.0**-11).all())


def test_the_key_is_the_content(tmp_path: Path) -> None:
    teacher = Counting()
    CachedTeacher(teacher, CONTRACT, tmp_path).view(noise(), ("latent",))
    others = [
        (Counting("b"), CONTRACT, noise(), ("latent",)),
        (Counting(), StftContract(hop=128), noise(), ("latent",)),
        (Counting(), CONTRACT, noise(), ("other",)),
        (Counting(), CONTRACT, noise(), ()),
        (Counting(), CONTRACT, noise() * (1 + 1e-6), ("latent",)),
    ]
    for other, contract, signals, taps in others:
        CachedTeacher(other, contract, tmp_path).view(signals, taps)
        assert other.heard == 3
    again = Counting()
    CachedTeacher(again, CONTRACT, tmp_path).view(noise(), ("latent",))
    assert again.heard == 0


def test_the_order_of_taps_does_not_matter(tmp_path: Path) -> None:
    teacher = Counting()
    cached = CachedTeacher(teacher, CONTRACT, tmp_path)
    assert same(
        cached.view(noise(), ("latent", "other")), cached.view(noise(), ("other", "latent"))
    )
    assert teacher.heard == 3


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other", "folder"])
def test_a_damaged_entry_is_made_anew(tmp_path: Path, damage: str) -> None:
    teacher = Counting()
    cached = CachedTeacher(teacher, CONTRACT, tmp_path)
    first = cached.view(noise(), ("latent",))
    file, beside = entries(tmp_path)[:2]
    content = file.read_bytes()
    match damage:
        case "truncated":
            file.write_bytes(content[:-3])
        case "flipped":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "empty":
            file.write_bytes(b"")
        case "other":
            CachedTeacher(teacher, CONTRACT, tmp_path / "x").view(noise(), ("other",))
            teacher.heard = 3
            file.write_bytes(entries(tmp_path / "x")[0].read_bytes())
        case "folder":
            file.unlink()
    assert same(cached.view(noise(), ("latent",)), first)
    assert teacher.heard == 4
    assert file.read_bytes() == content
    assert beside.is_file()
    assert same(cached.view(noise(), ("latent",)), first)
    assert teacher.heard == 4


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written") as caught:
        CachedTeacher(Counting(), CONTRACT, tmp_path / "file").view(noise(), ())
    assert "cache" in str(caught.value.hint)


def test_what_the_cache_passes_on(tmp_path: Path) -> None:
    teacher = Counting()
    cached = CachedTeacher(teacher, CONTRACT, tmp_path)
    assert (cached.name, cached.key, cached.parameters) == ("counting", "a", 7)
    assert cached.tap_paths() == ["latent", "other"]
    assert cached.tap_shapes(["other"]) == {"other": (1, CHANNELS)}
    signal: npt.NDArray[np.float32] = np.ones(4, dtype=np.float32)
    assert cached.denoise(signal) is signal


def _fill(folder: Path, seeds: Sequence[int]) -> None:
    cached = CachedTeacher(Counting(), CONTRACT, folder)
    for seed in seeds:
        cached.view(noise(seed), ("latent",))


@pytest.mark.slow
def test_processes_share_a_cache(tmp_path: Path) -> None:
    """Two processes fill the same entries at the same time: all are whole, none is left over."""
    context = multiprocessing.get_context("spawn")
    seeds = list(range(40))
    workers = [
        context.Process(target=_fill, args=(tmp_path, order)) for order in (seeds, seeds[::-1])
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    assert len(entries(tmp_path)) == 3 * len(seeds)
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if ".part" in name]
    teacher = Counting()
    cached = CachedTeacher(teacher, CONTRACT, tmp_path)
    for seed in seeds:
        cached.view(noise(seed), ("latent",))
    assert teacher.heard == 0
