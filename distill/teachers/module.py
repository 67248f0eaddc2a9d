"""Any torch module as a teacher: a factory builds it, safetensors fill it."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from distill.taps import capture, tap_paths
from distill.teachers.adapter import Adapter
from distill.teachers.keys import digest, state_digest
from distill.teachers.sources import ModuleSource
from distill.teachers.trial import denoise, trial_shapes
from distill.views import TapShape, View
from runtime.stft import StftContract
from targets.errors import InputError


class ModuleTeacher:
    """A network of the user's own. Its output is a tensor, or the first of a tuple."""

    def __init__(self, source: ModuleSource, contract: StftContract, device: str) -> None:
        self._contract, self._device = contract, torch.device(device)
        network = build_module(source)
        if source.weights is not None:
            fill(network, source.weights)
        self._network = network.eval().requires_grad_(False).to(self._device)
        self._adapter = Adapter(contract, source)
        self.name = source.factory
        self.parameters: int | None = sum(p.numel() for p in network.parameters())
        self.key = digest(
            {
                "kind": "module",
                "settings": source.model_dump(mode="json", exclude={"weights"}),
                "state": state_digest(network.state_dict()),
                "code": code_digests(network),
            }
        )

    def tap_paths(self) -> list[str]:
        return tap_paths(self._network)

    def tap_shapes(self, paths: Sequence[str]) -> Mapping[str, TapShape]:
        return trial_shapes(self, self._contract, paths)

    @torch.no_grad()
    def view(self, noisy: Tensor, paths: Sequence[str]) -> View:
        with torch.autocast(self._device.type, enabled=False):
            prepared = self._adapter.prepare(noisy, self._device)
            with capture(self._network, paths) as found:
                output = self._run(prepared.tensor)
            return self._adapter.view(prepared, output, found)

    def denoise(self, noisy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return denoise(self, self._contract, noisy)

    def _run(self, value: Tensor) -> Tensor:
        try:
            output = self._network(value)
        except InputError:
            raise
        except Exception as error:  # whatever foreign code raises
            raise InputError(
                f"The teacher {self.name} failed on an input {tuple(value.shape)}: "
                f"{_in_a_line(error)}.",
                hint="Check `input`, `input_layout` and `contract: {bins: …}`.",
            ) from error
        while isinstance(output, tuple | list) and output:
            output = output[0]
        if not isinstance(output, Tensor):
            raise InputError(
                f"The teacher {self.name} returns {type(output).__name__}, not a tensor.",
                hint="Wrap it in a module that returns its estimate.",
            )
        return output


def build_module(source: ModuleSource) -> nn.Module:
    """The network that the factory returns; its code runs here, by the user's intent."""
    with _importable_here():
        factory = _factory(source.factory)
        try:
            network = factory(**source.arguments)
        except Exception as error:  # whatever foreign code raises
            raise InputError(
                f"The factory {source.factory} failed: {_in_a_line(error)}.",
                hint="It is called with the `arguments` of the recipe, without any by default.",
            ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"The factory {source.factory} returns {type(network).__name__}, not a torch module.",
            hint="It should return a torch.nn.Module.",
        )
    return network


def _factory(text: str) -> Callable[..., Any]:
    path, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(path)
    except Exception as error:  # whatever importing foreign code raises
        raise InputError(
            f"Cannot import {path}: {_in_a_line(error)}.",
            hint="Start sordino in the folder that holds it, or install its package.",
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            public = [entry for entry in dir(found) if not entry.startswith("_")]
            raise InputError(
                f"There is no {name!r} in {path}.",
                hint=f"There are: {', '.join(public[:20]) or 'no public names'}.",
            )
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{text} cannot be called.", hint="Name a function that builds a module.")
    factory: Callable[..., Any] = found
    return factory


@contextmanager
def _importable_here() -> Iterator[None]:
    """The current directory comes first, as for ``python -m``, while foreign code is imported."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()  # a file written a moment ago counts
    try:
        yield
    finally:
        sys.path.remove(here)


def fill(network: nn.Module, weights: Path) -> None:
    """Load a safetensors file of the state_dict. Raises InputError where it does not fit."""
    if not weights.is_file():
        raise InputError(f"No weights at {weights}.", hint="`weights` names a .safetensors file.")
    try:
        tensors = load(weights.read_bytes())
    except SafetensorError as error:
        raise InputError(
            f"{weights} is not a safetensors file, or is damaged.",
            hint="safetensors.torch.save_file(module.state_dict(), path) writes one.",
        ) from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"The weights in {weights} do not fit the module: {_misfit(error)}.",
            hint="They must be the state_dict of what the factory returns.",
        ) from error


def _misfit(error: RuntimeError) -> str:
    """The first complaint of ``load_state_dict``, whose report has a line for each."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1 if len(lines) > 1 else 0].rstrip(". ")[:200]


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200].rstrip(". ")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def code_digests(network: nn.Module) -> dict[str, str]:
    """SHA-256 of the source file of each module class, but for torch's own."""
    digests = {}
    for kind in {type(module) for module in network.modules()}:
        if kind.__module__.partition(".")[0] == "torch":
            continue
        try:
            file = inspect.getsourcefile(kind)
        except (TypeError, OSError):  # written at a prompt, or compiled
            file = None
        if file is not None and Path(file).is_file():
            digests[kind.__module__] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return digests
