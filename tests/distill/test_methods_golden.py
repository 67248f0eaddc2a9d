"""Every loss equals its formula written out in numpy, and a broken loss does not."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.methods.attention import Attention
from distill.methods.cosine_latent import CosineLatent
from distill.methods.frames import active_mean
from distill.methods.hint import Hint
from distill.methods.output import Output
from distill.methods.pairs import Pair
from distill.methods.relational import Relational
from distill.methods.selective import Selective
from distill.methods.settings import (
    AttentionSettings,
    CosineLatentSettings,
    HintSettings,
    OutputSettings,
    RelationalSettings,
    SelectiveSettings,
    SimilaritySettings,
    TapPair,
)
from distill.methods.similarity import Similarity
from distill.views import Batch, TapShape
from tests.distill import methods_numpy as golden

WEIGHTS = (0.7, 0.3)


def pair(student: Tensor, teacher: Tensor) -> Pair:
    return Pair(
        TapPair(student="s", teacher="t"),
        TapShape(*student.shape[2:]),
        TapShape(*teacher.shape[2:]),
    )


def activations(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Four items of five frames; three bins against four, other widths; some silence."""
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(4, 5, 3, 2, dtype=torch.float64, generator=generator)
    teacher = torch.randn(4, 5, 4, 6, dtype=torch.float64, generator=generator)
    active = torch.ones(4, 5, dtype=torch.float64)
    active[0, 2] = active[1, :3] = 0.0
    active[3] = 0.0
    return student, teacher, active


def spectra(seed: int = 0) -> tuple[Tensor, Tensor, Batch]:
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 5, 7)
    clean, noise, error, other = (
        torch.randn(shape, dtype=torch.complex128, generator=generator) for _ in range(4)
    )
    scale = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64).view(3, 1, 1)
    batch = Batch(clean + noise, clean, torch.ones(3, 5, dtype=torch.float64), scale, 0.3)
    return clean + 0.5 * error, clean + 0.4 * other, batch


def check_cosine_latent() -> None:
    student, teacher, active = activations()
    for width in (None, 30):
        loss = CosineLatent(CosineLatentSettings(width=width), pair(student, teacher)).double()
        matrix = loss.widen.weight.detach().numpy()
        expected = golden.cosine_latent(student.numpy(), teacher.numpy(), active.numpy(), matrix)
        assert loss(student, teacher, active).item() == pytest.approx(expected, abs=1e-5)


def check_output() -> None:
    student, teacher, batch = spectra()
    expected = golden.output(student.numpy(), teacher.numpy(), batch.scale.numpy(), WEIGHTS)
    assert Output(OutputSettings())(student, teacher, batch).item() == pytest.approx(
        expected, rel=1e-5
    )


def check_similarity() -> None:
    student, teacher, active = activations()
    frames, bins = golden.similarity(student.numpy(), teacher.numpy(), active.numpy())
    loss = Similarity(SimilaritySettings(per_time=0.2, per_frequency=0.7), pair(student, teacher))
    expected = 0.2 * frames + 0.7 * bins
    assert loss(student, teacher, active).item() == pytest.approx(expected, rel=1e-4)


def check_attention() -> None:
    student, teacher, active = activations()
    expected = golden.attention(student.numpy(), teacher.numpy(), active.numpy())
    loss = Attention(AttentionSettings(), pair(student, teacher))
    assert loss(student, teacher, active).item() == pytest.approx(expected, rel=1e-6)


def check_hint() -> None:
    student, teacher, active = activations()
    loss = Hint(HintSettings(), pair(student, teacher)).double()
    bias = torch.randn(6, dtype=torch.float64)
    with torch.no_grad():
        loss.regressor.bias.copy_(bias)
    matrix = loss.regressor.weight.detach().numpy()
    expected = golden.hint(student.numpy(), teacher.numpy(), active.numpy(), matrix, bias.numpy())
    assert loss(student, teacher, active).item() == pytest.approx(expected, rel=1e-5)


def check_relational() -> None:
    student, teacher, active = activations()
    distance, angle = golden.relational(student.numpy(), teacher.numpy(), active.numpy())
    loss = Relational(RelationalSettings(distance=0.4, angle=0.9), pair(student, teacher))
    expected = 0.4 * distance + 0.9 * angle
    assert loss(student, teacher, active).item() == pytest.approx(expected, rel=1e-6)


def check_selective() -> None:
    student, teacher, batch = spectra()
    for frames, bins, share in ((1, 3, 0.5), (2, 2, 0.25), (4, 7, 1.0)):
        expected = golden.selective(
            student.numpy(),
            teacher.numpy(),
            batch.clean.numpy(),
            batch.scale.numpy(),
            WEIGHTS,
            (frames, bins),
            share,
        )
        loss = Selective(SelectiveSettings(frames=frames, bins=bins, share=share))
        assert expected > 0.0
        assert loss(student, teacher, batch).item() == pytest.approx(expected, rel=1e-5)


CHECKS: dict[str, Callable[[], None]] = {
    "cosine_latent": check_cosine_latent,
    "output": check_output,
    "similarity": check_similarity,
    "attention": check_attention,
    "hint": check_hint,
    "relational": check_relational,
    "selective": check_selective,
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_loss_equals_its_formula(name: str) -> None:
    torch.manual_seed(0)
    CHECKS[name]()


def unmasked(values: Tensor, active: Tensor) -> Tensor:
    return values.mean()


def over_the_batch(values: Tensor, active: Tensor) -> Tensor:
    return (values * active).sum() / active.sum()


def first_bins(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    bins = min(student.shape[2], teacher.shape[2])
    return student[:, :, :bins], teacher[:, :, :bins]


# Method, name inside its module, what stands there instead: each a mistake that was possible.
MISTAKES = {
    "silence counted": ("cosine_latent", "active_mean", unmasked),
    "long items weigh more": ("cosine_latent", "active_mean", over_the_batch),
    "scale kept": ("cosine_latent", "unit", lambda value: value),
    "wrong sign": ("cosine_latent", "active_mean", lambda v, a: active_mean(2.0 - v, a)),
    "uncompressed": ("output", "compress", lambda value, _: (value.abs(), value)),
    "no phase": ("output", "compress", lambda value, _: (value.abs() ** 0.3, value.abs() ** 0.3)),
    "rows as they are": ("similarity", "unit", lambda value: value),
    "bins cut off": ("similarity", "same_bins", first_bins),
    "bins cut off the map": ("attention", "same_bins", first_bins),
    "map as it is": ("attention", "_normalised", lambda value: value.flatten(1)),
    "bins cut off the hint": ("hint", "same_bins", first_bins),
    "silence in the hint": ("hint", "_energy", lambda x, _: x.square().mean(dim=(1, 2, 3))),
    "silence pooled": ("relational", "_pooled", lambda x, _: x.mean(dim=(1, 2))),
    "L1 for Huber": (
        "relational",
        "_huber",
        lambda s, t, c: ((s - t).abs() * c).sum() / c.sum(),
    ),
    "every patch": ("selective", "_largest", lambda gap, _: torch.ones_like(gap)),
    "the worst patches": ("selective", "_largest", lambda gap, most: (gap < 0).to(gap.dtype)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, name, broken = MISTAKES[mistake]
    monkeypatch.setattr(importlib.import_module(f"distill.methods.{method}"), name, broken)
    torch.manual_seed(0)
    with pytest.raises(AssertionError):
        CHECKS[method]()


def test_the_reference_itself_is_right_where_the_answer_is_known() -> None:
    one = np.ones((1, 1, 1, 2))
    active = np.ones((1, 1))
    assert golden.cosine_latent(one, -one, active, np.eye(2)) == pytest.approx(2.0)
    assert golden.hint(one, 3.0 * one, active, np.eye(2), np.zeros(2)) == pytest.approx(4.0 / 9.0)
    corners = np.array([[0.0, 0], [3, 0], [0, 4]]).reshape(3, 1, 1, 2)
    line = np.array([[0.0, 0], [3, 0], [6, 0]]).reshape(3, 1, 1, 2)
    distance, _ = golden.relational(corners, corners, np.ones((3, 1)))
    assert distance == 0.0
    # Sides 3, 4, 5 over their mean 4 against 3, 6, 3 over 4; each pair counts twice.
    distance, _ = golden.relational(corners, line, np.ones((3, 1)))
    assert distance == pytest.approx(0.5 * (0 + 0.5**2 + 0.5**2) / 3)
