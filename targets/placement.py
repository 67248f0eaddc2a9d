"""Where a device would keep what an artefact needs: every piece in the first region with room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from targets.needs import Needs
from targets.schema import Content, Memory, Target
from targets.verdict import Basis

ARENA_MARGIN_BYTES = 2048
ARENA_MARGIN_SHARE = 0.05

# A Linux or Android device gives a process its memory, and runs other interpreters than TFLM.
WITH_PROCESSES = ("phone", "single-board-computer")


@dataclass(frozen=True)
class Piece:
    """Bytes that have to lie in one region."""

    name: str
    content: Content
    bytes: int
    basis: Basis


@dataclass(frozen=True)
class Placed:
    """A piece and its region, None where no region may hold it. ``before`` is what lay in it
    already. Where none has room, it is the one with the most, and ``full``."""

    piece: Piece
    region: Memory | None
    before: int = 0
    full: bool = False

    @property
    def missing(self) -> str:
        """What has to be known before the piece has a place, empty where it has one."""
        if self.region is None:
            return f"a memory that holds {self.piece.content}"
        return f"the size of {self.region.name}" if self.region.bytes is None else ""


def arena_with_margin(arena_bytes: int) -> int:
    """Bytes to reserve for an arena measured at ``arena_bytes``, a multiple of 16.

    The margin is max(2 KiB, 5 %): interpreters of different word size and kernels with scratch
    memory were seen to differ by less.
    """
    margin = max(ARENA_MARGIN_BYTES, -(-arena_bytes * ARENA_MARGIN_SHARE // 1))
    return -(-(arena_bytes + int(margin)) // 16) * 16


def flash_pieces(needs: Needs) -> list[Piece]:
    """Constants and code, as far as they are known."""
    pieces = []
    if needs.constant_bytes is not None:
        basis: Basis = "exact" if needs.code_bytes is None else "simulated"
        pieces.append(Piece("constants", "weights", needs.constant_bytes, basis))
    if needs.code_bytes is not None:
        pieces.append(Piece("code", "code", needs.code_bytes, "simulated"))
    return pieces


def ram_pieces(needs: Needs) -> list[Piece]:
    """What is known of the memory that a step works in."""
    pieces = []
    if needs.static_ram_bytes is not None:
        pieces.append(Piece("states and arena", "data", needs.static_ram_bytes, "exact"))
    elif needs.process_bytes is not None:
        measured = needs.process_basis
        pieces.append(Piece("memory of the process", "data", needs.process_bytes, measured))
    elif needs.arena_bytes is not None:
        reserved = arena_with_margin(needs.arena_bytes)
        pieces.append(Piece("arena with margin", "data", reserved, "measured-host"))
    if needs.stack_bytes is not None:
        pieces.append(Piece("stack", "data", needs.stack_bytes, needs.stack_basis))
    if needs.io_bytes:
        pieces.append(Piece("features and mask", "data", needs.io_bytes, "exact"))
    return pieces


def place(target: Target, pieces: Sequence[Piece]) -> list[Placed]:
    """Give every piece, in turn, the first region that may hold it and has room."""
    used = {region.name: 0 for region in target.memory}
    placed = []
    for piece in pieces:
        found = _home(target.regions_for(piece.content), piece, used)
        if found.region is not None and not found.full:
            used[found.region.name] += piece.bytes
        placed.append(found)
    return placed


def weights_region(target: Target, needs: Needs) -> Memory | None:
    """Where the constants lie, or would lie if there is room; None where nothing is stated."""
    if needs.constant_bytes is None:
        return None
    constants = place(target, flash_pieces(needs)[:1])[0]
    return None if constants.full else constants.region


def _home(regions: Sequence[Memory], piece: Piece, used: dict[str, int]) -> Placed:
    room = [
        (region.bytes - used[region.name], region) for region in regions if region.bytes is not None
    ]
    for free, region in room:
        if piece.bytes <= free:
            return Placed(piece, region, used[region.name])
    if not room or len(room) < len(regions):  # perhaps one of unknown size has room
        return Placed(piece, next((region for region in regions if region.bytes is None), None))
    _, region = max(room, key=lambda pair: pair[0])
    return Placed(piece, region, used[region.name], full=True)
