"""Every method by its name: golden values, gradients, silence, batches, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from distill.methods import MethodSettings, TapPair, build_alignment, wanted_taps
from distill.unet import UNet, UNetConfig
from distill.views import Batch, TapShape, View
from targets.errors import InputError

ADAPTER: TypeAdapter[MethodSettings] = TypeAdapter(MethodSettings)


def test_two_methods_add_up_through_a_real_network() -> None:
    small, large = UNet(UNetConfig(widths=(2, 3), hidden=4)), UNet(UNetConfig(hidden=6))
    methods = [
        ADAPTER.validate_python({"method": "cosine-latent", "weight": 0.5}),
        ADAPTER.validate_python({"method": "output", "weight": 2.0}),
    ]
    ours, theirs = wanted_taps(methods, small, ["bottleneck.latent"])
    assert ours == theirs == ["bottleneck.latent"]
    shapes = {ours[0]: TapShape(1, 4)}, {theirs[0]: TapShape(1, 6)}
    alignment = build_alignment(methods, *shapes)
    spectra = torch.randn(2, 5, 257, dtype=torch.complex64)
    student = View(spectra, {ours[0]: torch.randn(2, 5, 1, 4)})
    teacher = View(0.5 * spectra, {theirs[0]: torch.randn(2, 5, 1, 6)})
    batch = Batch(spectra, spectra, torch.ones(2, 5), torch.ones(2, 1, 1), 0.3)
    values = alignment.values(student, teacher, batch)
    total = alignment(student, teacher, batch)
    assert float(total) == pytest.approx(0.5 * float(values[0]) + 2.0 * float(values[1]))
    assert large.config.hidden == 6
    with pytest.raises(InputError, match="by default"):
        wanted_taps(methods, small, ["other"])
    assert np.isfinite(float(total))
    assert ADAPTER.validate_python({"method": "cosine-latent", "taps": ["a"]}).taps == (
        TapPair(student="a", teacher="a"),
    )
