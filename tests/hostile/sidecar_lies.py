"""A sound model beside a sidecar that is damaged or describes something else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.hostile.bases import Base
from tests.hostile.specimen import Specimen

Edit = Callable[[dict[str, Any]], None]
HUGE = 10**400


def sidecar_lies(base: Base) -> Iterator[Specimen]:
    """The model is always that of ``base``."""
    sound = base.sidecar(base.content)
    text = json.dumps(sound).encode()
    for name, content in _texts(text):
        yield Specimen("sidecar text", f"{base.name}: {name}", base.suffix, base.content, content)
    for family, name, edit in _edits():
        changed = copy.deepcopy(sound)
        edit(changed)
        content = json.dumps(changed).encode("utf-8", "surrogatepass")
        yield Specimen(family, f"{base.name}: {name}", base.suffix, base.content, content)


def _texts(sound: bytes) -> Iterator[tuple[str, bytes]]:
    for part in (0, 1, 5, 9):
        yield f"{part} tenths of it", sound[: len(sound) * part // 10]
    yield "one letter more", sound + b"x"
    yield "not text", b"\xff\xfe" + sound
    yield "zeros", bytes(1000)
    yield "a list", b"[1, 2, 3]"
    yield "null", b"null"
    yield "lists in lists", b"[" * 100_000 + b"]" * 100_000
    yield "objects in objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    deep = b'"provenance": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b", "
    yield "deep inside", sound[:1] + deep + sound[1:]
    yield "an endless number", sound.replace(b'"hop": 256', b'"hop": ' + b"9" * 100_000)
    yield "larger than any", sound[:-1] + b" " * (2 << 20) + sound[-1:]
    yield "NaN", sound.replace(b'"compression": 0.3', b'"compression": NaN')
    yield "infinite", sound.replace(b'"compression": 0.3', b'"compression": 1e999')


def _set(value: Any, *path: str | int) -> Edit:
    def edit(sidecar: dict[str, Any]) -> None:
        part: Any = sidecar
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value

    return edit


def _edits() -> Iterator[tuple[str, str, Edit]]:
    yield "sidecar fields", "one unknown", _set(1, "evil")
    yield "sidecar fields", "another schema", _set("sordino-artefact/9", "schema")
    for key in ("contract", "inputs", "outputs", "states", "network", "model", "target"):
        yield "sidecar fields", f"no {key}", partial(lambda key, s: s.pop(key), key)
        yield "sidecar fields", f"{key} is a number", _set(7, key)
    for value in ("", "\x1b[2J", "x" * 10_000, "a\nb"):
        yield "sidecar names", f"name {value[:9]!r}", _set(value, "name")
        yield "sidecar names", f"input {value[:9]!r}", _set(value, "inputs", 1, "name")
        yield "sidecar names", f"state {value[:9]!r}", _set(value, "states", 0, "name")
    for value in ("../../etc/passwd", "/dev/zero", "a\0b", ""):
        yield "sidecar names", f"file {value!r}", _set(value, "model", "file")
    yield from _interfaces()
    yield from _contracts()
    for count in (-1, HUGE, 1 << 70):
        name = str(count)[:9]
        yield "sidecar numbers", f"parameters {name}", _set(count, "network", "parameters")
        yield "sidecar numbers", f"MACs {name}", _set(count, "network", "macs_per_step")
        yield "sidecar numbers", f"operators {name}", _set({"CONV_2D": count}, "operators")
        yield "sidecar numbers", f"bytes {name}", _set(count, "model", "bytes")
    yield "sidecar numbers", "another hash", _set("0" * 64, "model", "sha256")


def _interfaces() -> Iterator[tuple[str, str, Edit]]:
    def swap(end: str, sidecar: dict[str, Any]) -> None:
        sidecar[end][0], sidecar[end][1] = sidecar[end][1], sidecar[end][0]

    def drop(end: str, sidecar: dict[str, Any]) -> None:
        sidecar[end].pop()

    def double(end: str, sidecar: dict[str, Any]) -> None:
        sidecar[end].append(sidecar[end][-1])

    for end in ("inputs", "outputs"):
        yield "sidecar interface", f"{end} swapped", partial(swap, end)
        yield "sidecar interface", f"{end}: one less", partial(drop, end)
        yield "sidecar interface", f"{end}: one twice", partial(double, end)
        yield "sidecar interface", f"{end}: none", _set([], end)
        for shape in ([], [0], [-1, 1, 32, 3], [1 << 40], [1 << 20] * 4, [1] * 99, [1, 1, 32, 4]):
            edit = _set(shape, end, 0, "shape")
            yield "sidecar interface", f"{end} of shape {shape[:4]}", edit
        for kind in ("float64", "int32", "int16", ""):
            yield "sidecar interface", f"{end} of {kind!r}", _set(kind, end, 0, "dtype")
        for scale in (0.0, -1.0, 1e308, 1e-300, 0.125):
            yield "sidecar scale", f"{end}: {scale:g}", _set(scale, end, 0, "scale")
        for zero in (1 << 40, -999, 17):
            yield "sidecar scale", f"{end}: zero at {zero}", _set(zero, end, 0, "zero_point")

    def cross(sidecar: dict[str, Any]) -> None:
        sidecar["states"][0]["output"] = "mask"

    def shared(sidecar: dict[str, Any]) -> None:
        sidecar["states"].append(dict(sidecar["states"][0], name="again"))

    yield "sidecar states", "from the mask", cross
    yield "sidecar states", "two of one tensor", shared
    yield "sidecar states", "none", _set([], "states")
    yield "sidecar states", "to the features", _set("features", "states", 0, "input")
    yield "sidecar states", "to nowhere", _set("nowhere", "states", 0, "input")
    yield "sidecar states", "from nowhere", _set("nowhere", "states", 0, "output")


def _contracts() -> Iterator[tuple[str, str, Edit]]:
    lies: dict[str, tuple[Any, ...]] = {
        "sample_rate": (0, -1, 1 << 40, HUGE),
        "hop": (0, 1, 7, -256, 1 << 20, HUGE),
        "window_length": (0, 1 << 40, 3),
        "fft_size": (0, 2, 1 << 40),
        "bins": (0, 31, 1 << 16, 1 << 40),
        "scale": (0.0, -1.0, 1e308, 1e-300),
        "compression": (0.0, -1.0, 2.0),
        "window": ("rectangular", 3),
        "padding": ("mirror",),
    }
    for key, values in lies.items():
        for value in values:
            name = str(value)[:9]
            yield "sidecar contract", f"{key} {name}", _set(value, "contract", key)
