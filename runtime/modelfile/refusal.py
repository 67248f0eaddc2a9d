"""How a model file is refused, and what is too much for any denoiser of this project."""

from __future__ import annotations

import unicodedata
from typing import Final

from targets.errors import InputError

LARGEST_MODEL: Final = 32 << 20  # bytes of a file; models of this project are below 4 MiB
LARGEST_TENSORS: Final = 64 << 20  # bytes of all tensors together, constants included
LARGEST_SIDE: Final = 1 << 24  # of a shape; keeps every product of two within 64 bits
MOST_RANK: Final = 5  # more than this, kernels for microcontrollers keep no room for
# Multiplications per step. At 62 steps a second this is 16 G/s, the slowest interpreter takes half
# a second for it, and no product of declared sizes can hang a process.
MOST_WORK: Final = 1 << 28

HINT: Final = "It is damaged or made to do harm: fetch it again, or export it from its checkpoint."


class ModelRefused(InputError):
    """A model file, or its sidecar, that is not loaded because it is damaged or asks too much."""


class Damaged(Exception):
    """Why a file is refused, in words that go on from the part of it in ``path``, if one is known.

    Used between the checks of this package only; what leaves it is ModelRefused.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(f"{path} {reason}".strip())
        self.reason, self.path = reason, path

    def within(self, part: str) -> Damaged:
        """The same, told of a part one level up: "[3]" within "tensors" is "tensors[3]"."""
        joint = "" if self.path.startswith("[") or not self.path else "."
        return Damaged(self.reason, f"{part}{joint}{self.path}")


def demand(condition: bool, reason: str) -> None:
    """Raises Damaged for ``reason`` unless ``condition`` holds."""
    if not condition:
        raise Damaged(reason)


def shown(name: str) -> str:
    """A name out of a file, fit to be printed: short, and nothing that moves the cursor."""
    plain = "".join("?" if unicodedata.category(c).startswith("C") else c for c in name[:60])
    return repr(plain + ("…" if len(name) > 60 else ""))
