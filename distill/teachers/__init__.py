"""Teachers of every kind, seen through one protocol: our U-Net, a torch module, an ONNX file.

Whatever a teacher's own STFT, sample rate and delay are, its estimate and its taps come on the
frames of the student's contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from distill.teachers.sources import KINDS, ModuleSource, OnnxSource
from distill.views import TapShape, View
from runtime.stft import StftContract
from targets.errors import InputError

CACHE = "teacher-cache"  # the folder inside a run, where the recipe names no other


class Teacher(Protocol):
    """A frozen denoiser that a student is compared with.

    ``key`` is a SHA-256 of all that decides its output: weights, settings, its own code where that
    can be read. ``parameters`` is None where nobody knows.
    """

    @property
    def name(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def parameters(self) -> int | None: ...

    def tap_paths(self) -> list[str]:
        """Every name that can be tapped."""

    def tap_shapes(self, paths: Sequence[str]) -> Mapping[str, TapShape]:
        """Bins and channels of each tap; raises InputError for one that does not exist."""

    def view(self, noisy: Tensor, paths: Sequence[str]) -> View:
        """Estimate and taps of signals ``[batch, samples]``, without gradients.

        Both have the frames of the student's contract and lie on the device of ``noisy``. Raises
        InputError where the network fails or gives something else than its settings say.
        """

    def denoise(self, noisy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """One signal ``[samples]``, denoised."""


class TeacherSettings(Protocol):
    """The section ``teacher`` of a recipe, as far as it names a teacher that exists already.

    ``folder`` is that of a checkpoint, whether it is named by its path or as a shipped model.
    """

    @property
    def folder(self) -> Path | None: ...

    @property
    def module(self) -> ModuleSource | None: ...

    @property
    def onnx(self) -> OnnxSource | None: ...


def open_teacher(
    settings: TeacherSettings, contract: StftContract, device: str, cache: Path | None
) -> Teacher:
    """The teacher that ``settings`` name, for a student of ``contract``.

    Torch teachers run on ``device``, ONNX on the CPU. With ``cache`` every mixture is seen by the
    teacher once and read from that folder afterwards. Raises InputError unless exactly one teacher
    is named and can be opened.
    """
    teacher = _open(settings, contract, device)
    if cache is None:
        return teacher
    from distill.teachers.cached import CachedTeacher

    return CachedTeacher(teacher, contract, cache)


def cache_folder(settings: TeacherSettings, named: Path | None, run: Path) -> Path | None:
    """Where outputs are kept: the folder the recipe names; for ONNX, else one inside ``run``."""
    if named is not None:
        return named
    return run / CACHE if settings.onnx is not None else None


def _open(settings: TeacherSettings, contract: StftContract, device: str) -> Teacher:
    # Each kind is imported where it is opened: a recipe is read without onnx or a teacher's code.
    named = [kind for kind in KINDS if getattr(settings, kind) is not None]
    if len(named) != 1:
        raise InputError(
            f"One teacher is needed; the recipe names {' and '.join(named) or 'none'}.",
            hint="State one of `checkpoint`, `model`, `module` and `onnx` under `teacher`.",
        )
    if settings.module is not None:
        from distill.teachers.module import ModuleTeacher

        return ModuleTeacher(settings.module, contract, device)
    if settings.onnx is not None:
        from distill.teachers.onnx import OnnxTeacher

        return OnnxTeacher(settings.onnx, contract)
    from distill.teachers.unet import UNetTeacher

    folder = settings.folder
    assert folder is not None
    return UNetTeacher(folder, contract, device)
