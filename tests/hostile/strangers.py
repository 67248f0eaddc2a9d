"""Files of another kind under the name of a model."""

from __future__ import annotations

import io
import json
import random
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Iterator

from tests.hostile.bases import Base
from tests.hostile.specimen import Specimen, specimen

HOLLOW = 4 << 30  # bytes


def strangers(base: Base, other: Base) -> Iterator[Specimen]:
    """``other`` is a sound model of another format."""
    for name, content in _contents(base, other):
        yield specimen(base, "another kind of file", name, content)
    yield from _hollow(base)


def _contents(base: Base, other: Base) -> Iterator[tuple[str, bytes]]:
    chance = random.Random("stranger")
    yield "nothing", b""
    yield "one byte", b"\x00"
    yield "zeros", bytes(1 << 16)
    yield "ones", b"\xff" * (1 << 16)
    yield "noise", chance.randbytes(1 << 16)
    yield "noise behind the mark", b"\x1c\0\0\0TFL3" + chance.randbytes(1 << 14)
    yield "a recording", _recording()
    yield "a zip", _zip(base.content)
    yield "a zip bomb", _zip(bytes(50 << 20))
    yield "a tar", _tar(base.content)
    yield "deflated", zlib.compress(base.content)
    yield f"a model of {other.suffix}", other.content
    yield "text", b"dear diary\n" * 1000
    yield "JSON", json.dumps({"model": "yes"}).encode()
    yield "a pickle that calls", b"cos\nsystem\n(S'false'\ntR."
    yield "ELF", b"\x7fELF" + bytes(5000)
    yield "PNG", b"\x89PNG\r\n\x1a\n" + bytes(5000)
    yield "TFLite of version 2", base.content[:4] + b"TFL2" + base.content[8:]
    yield "twice over", base.content[8:] + base.content


def _recording() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000))
    return buffer.getvalue()


def _zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo("model.tflite"), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        entry = tarfile.TarInfo("model.tflite")
        entry.size = len(content)
        file.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _hollow(base: Base) -> Iterator[Specimen]:
    """Gigabytes of nothing, which take no room on disk and would take it in memory."""
    for name, content in (("a sound model", base.content), ("nothing", b"")):
        record = base.sidecar(content)
        record["model"]["bytes"] = len(content) + HOLLOW
        yield Specimen(
            family="another kind of file",
            name=f"{base.name}: {name} and 4 GiB of zeros",
            suffix=base.suffix,
            model=content,
            sidecar=json.dumps(record).encode(),
            hollow=HOLLOW,
        )
