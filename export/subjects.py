"""What a budget is asked for: the networks of a recipe, of a checkpoint, or of a module."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from distill.checkpoint import load_checkpoint
from distill.recipe import Recipe, load_recipe, resolve_network
from distill.teachers.module import build_module
from distill.teachers.sources import ModuleSource
from distill.tracing import Example
from distill.unet import UNet
from runtime.stft import FEATURE_CHANNELS, StftContract
from targets.errors import InputError

Role = Literal["student", "teacher", "network"]

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_FRAMES = re.compile(r"(\d*)T")


@dataclass(frozen=True)
class Subject:
    """One network. ``example`` makes its input; a ``decides`` one decides the exit status."""

    role: Role
    name: str
    network: nn.Module
    contract: StftContract
    example: Example
    decides: bool


def subjects(source: str, shape: str | None = None) -> list[Subject]:
    """The networks behind ``source``, the one that ships first.

    ``source`` is a recipe (file or name), a checkpoint or run folder, or a factory of modules,
    ``package.module:function``, whose input has ``shape`` (see :func:`example_of`).
    Raises InputError.
    """
    if Path(source).is_dir():
        return [_of_checkpoint(Path(source), "network", decides=True)]
    if _FACTORY.fullmatch(source) and not Path(source).exists():
        network = build_module(ModuleSource(factory=source, input="features", output="mask"))
        contract = StftContract()
        example = features_example(contract.bins) if shape is None else example_of(shape)
        return [Subject("network", source, network, contract, example, decides=True)]
    return _of_recipe(load_recipe(source))


def example_of(shape: str) -> Example:
    """Inputs of a shape such as ``1,3,T,256``, ``T`` being the frames; ``256T`` is 256 samples a
    frame. Several inputs are separated by semicolons. Raises InputError."""
    parsed = [[_size(part.strip(), shape) for part in one.split(",")] for one in shape.split(";")]
    if not any("T" in part for part in shape.split(",")):
        raise InputError(
            f"The input shape {shape!r} has no axis of time.",
            hint="Write T for the number of frames, such as 1,3,T,256.",
        )

    def example(frames: int) -> tuple[Tensor, ...]:
        return tuple(
            torch.empty([size * (frames if timed else 1) for size, timed in one]) for one in parsed
        )

    return example


def _size(part: str, shape: str) -> tuple[int, bool]:
    """Size of one axis, and whether it counts frames."""
    if timed := _FRAMES.fullmatch(part):
        return int(timed[1] or 1), True
    if part.isdigit() and int(part):
        return int(part), False
    raise InputError(
        f"Cannot read the input shape {shape!r}.",
        hint="Sizes and T for the frames, separated by commas, such as 1,3,T,256.",
    )


def features_example(bins: int) -> Example:
    """Features of a contract, without values."""
    return lambda frames: (torch.empty(1, FEATURE_CHANNELS, frames, bins),)


def _of_checkpoint(path: Path, role: Role, *, decides: bool) -> Subject:
    checkpoint = load_checkpoint(path)
    return Subject(
        role,
        f"{checkpoint.path} ({checkpoint.record.preset})",
        checkpoint.network,
        checkpoint.record.contract,
        features_example(checkpoint.network.config.bins),
        decides,
    )


def _of_recipe(recipe: Recipe) -> list[Subject]:
    found = [_student(recipe)]
    if recipe.distillation.methods:
        found += _teacher(recipe)
    return found


def _student(recipe: Recipe) -> Subject:
    start = recipe.student.folder
    if start is not None:
        return _of_checkpoint(start, "student", decides=True)
    name, config = resolve_network(recipe.student.network, recipe.contract)
    return Subject(
        "student", name, UNet(config), recipe.contract, features_example(config.bins), decides=True
    )


def _teacher(recipe: Recipe) -> Sequence[Subject]:
    """The teacher where it is a torch network: an ONNX file is run, never exported."""
    source, contract = recipe.teacher, recipe.contract
    folder = source.folder
    if folder is not None:
        return [_of_checkpoint(folder, "teacher", decides=False)]
    if source.onnx is not None:
        return []
    if source.module is not None:
        example = _module_example(source.module, source.module.contract or contract)
        network = build_module(source.module)
        return [
            Subject("teacher", source.module.factory, network, contract, example, decides=False)
        ]
    name, config = resolve_network(source.network, contract)
    return [
        Subject(
            "teacher", name, UNet(config), contract, features_example(config.bins), decides=False
        )
    ]


def _module_example(source: ModuleSource, contract: StftContract) -> Example:
    """An input of the layout that the recipe states for a foreign teacher."""
    sizes = {"b": 1, "s": contract.hop}
    sizes["f"] = contract.bins if source.input == "features" else contract.frequencies
    sizes["c"] = {"waveform": 1, "spectra": 2, "features": FEATURE_CHANNELS}[source.input]
    dtype = (
        torch.complex64
        if source.input == "spectra" and "c" not in source.input_axes
        else torch.float32
    )

    def example(frames: int) -> tuple[Tensor, ...]:
        shape = [
            frames * sizes[axis] if axis == "s" else frames if axis == "t" else sizes[axis]
            for axis in source.input_axes
        ]
        return (torch.empty(shape, dtype=dtype),)

    return example
