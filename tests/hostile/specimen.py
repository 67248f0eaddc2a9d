"""One hostile or damaged model, and how it lies on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.bases import Base

SPARSE = "sparse"


@dataclass(frozen=True)
class Specimen:
    """``model`` and ``sidecar`` are what the two files hold.

    ``harmless``: it may by chance be a sound model still, and must then run. ``hollow`` is how many
    bytes of nothing follow the model without taking room on disk.
    """

    family: str
    name: str
    suffix: str
    model: bytes = field(repr=False)
    sidecar: bytes = field(repr=False)
    harmless: bool = False
    hollow: int = 0

    def write(self, folder: Path) -> Path:
        """Lay the two files into ``folder``; the path of the model."""
        folder.mkdir(parents=True)
        path = folder / f"model{self.suffix}"
        with path.open("wb") as file:
            file.write(self.model)
            file.truncate(len(self.model) + self.hollow)
        path.with_suffix(".json").write_bytes(self.sidecar)
        return path


def specimen(
    base: Base, family: str, name: str, content: bytes, *, harmless: bool = False
) -> Specimen:
    """An altered model under a sidecar that vouches for it: size and hash are right."""
    beside = json.dumps(base.sidecar(content)).encode()
    return Specimen(family, f"{base.name}: {name}", base.suffix, content, beside, harmless)
