"""A teacher that hears every mixture once: what it made of it is read from disk afterwards.

A mixture is known by its samples, so that any change of the mixing, of the teacher or of the taps
makes other entries. Numbers are float16 times a float32 scale per frame: at most 2⁻¹¹ of a value
is lost, and what lies 84 dB or more below the loudest of its frame loses no more than the float16
step there; both the first and any later look at a mixture give the rounded values, so that a run
does not depend on what was cached before it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from distill.teachers import Teacher
from distill.teachers.keys import digest
from distill.views import TapShape, View
from runtime.artefact import write_atomically
from runtime.stft import StftContract
from targets.errors import InputError

_FORMAT = "sordino-teacher-cache/1"
_ESTIMATE = "estimate"
_CHECK = "crc32"

Entry = dict[str, Tensor]


class CachedTeacher:
    """``teacher`` behind a folder of entries, one file per mixture in 256 subfolders.

    Entries are renamed into place, so that several processes may share the folder; one that is
    damaged is made anew. Nothing is kept in memory. An entry of two seconds takes about
    130 kB for the estimate and 250 bytes per channel and bin of a tap.
    """

    def __init__(self, teacher: Teacher, contract: StftContract, folder: Path) -> None:
        self._teacher, self._contract, self._folder = teacher, contract, folder

    @property
    def name(self) -> str:
        return self._teacher.name

    @property
    def key(self) -> str:
        return self._teacher.key

    @property
    def parameters(self) -> int | None:
        return self._teacher.parameters

    def tap_paths(self) -> list[str]:
        return self._teacher.tap_paths()

    def tap_shapes(self, paths: Sequence[str]) -> Mapping[str, TapShape]:
        return self._teacher.tap_shapes(paths)

    def view(self, noisy: Tensor, paths: Sequence[str]) -> View:
        rows = np.ascontiguousarray(noisy.detach().cpu().numpy(), dtype=np.float32)
        setting = self._setting(paths)
        files = [self._file(setting, row) for row in rows]
        entries = [_read(file, paths) for file in files]
        missing = [index for index, entry in enumerate(entries) if entry is None]
        if missing:
            fresh = self._teacher.view(noisy[missing], paths)
            for place, index in enumerate(missing):
                entry = _encode(fresh, place)
                _write(files[index], entry)
                entries[index] = entry
        views = [_decode(entry, paths) for entry in entries if entry is not None]
        return View(
            torch.stack([view.estimate for view in views]).to(noisy.device),
            {p: torch.stack([view.taps[p] for view in views]).to(noisy.device) for p in paths},
        )

    def denoise(self, noisy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._teacher.denoise(noisy)

    def _setting(self, paths: Sequence[str]) -> bytes:
        record = {
            "format": _FORMAT,
            "teacher": self._teacher.key,
            "contract": self._contract.model_dump(mode="json"),
            "taps": sorted(paths),
        }
        return digest(record).encode()

    def _file(self, setting: bytes, row: npt.NDArray[np.float32]) -> Path:
        whole = hashlib.sha256(setting)
        whole.update(row.data)
        key = whole.hexdigest()
        return self._folder / key[:2] / f"{key[2:]}.safetensors"


def _encode(view: View, index: int) -> Entry:
    """One item of a batch, rounded as it will be stored."""
    estimate = torch.view_as_real(view.estimate[index].detach().cpu().resolve_conj())
    values = {_ESTIMATE: estimate}
    values |= {f"tap:{path}": tap[index].detach().cpu() for path, tap in view.taps.items()}
    entry = {}
    for name, value in values.items():
        value = value.float()
        scale = value.abs().amax(dim=tuple(range(1, value.dim())), keepdim=True)
        scale = torch.where(scale > 0.0, scale, torch.ones_like(scale))
        entry[name] = (value / scale).half().contiguous()
        entry[f"scale:{name}"] = scale
    return entry


def _decode(entry: Entry, paths: Sequence[str]) -> View:
    """Estimate ``[time, frequencies]`` and taps ``[time, frequency, channels]`` of one item."""

    def value(name: str) -> Tensor:
        return entry[name].float() * entry[f"scale:{name}"]

    return View(
        torch.view_as_complex(value(_ESTIMATE)), {path: value(f"tap:{path}") for path in paths}
    )


def _write(file: Path, entry: Entry) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save({**entry, _CHECK: _checksum(entry)}))
    except OSError as error:
        raise InputError(
            f"The teacher cache {file.parent.parent} cannot be written: {error.strerror}.",
            hint="Name another folder with `teacher: {cache: FOLDER}`.",
        ) from error


def _read(file: Path, paths: Sequence[str]) -> Entry | None:
    """The entry, or None where there is none or not all of its bytes are as they were written."""
    try:
        entry = load(file.read_bytes())
    except (OSError, SafetensorError):
        return None
    expected = {_ESTIMATE, *(f"tap:{path}" for path in paths)}
    stored = entry.pop(_CHECK, None)
    complete = set(entry) == expected | {f"scale:{name}" for name in expected}
    if stored is None or not complete or not torch.equal(stored, _checksum(entry)):
        return None
    return entry


def _checksum(entry: Entry) -> Tensor:
    value = 0
    for name in sorted(entry):
        value = zlib.crc32(entry[name].numpy().data, value)
    return torch.tensor([value])
