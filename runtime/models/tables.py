"""The table of ``sordino models list``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from runtime.models.card import ModelCard, QualityRow
from runtime.models.page import UNKNOWN, delay, number

EMPTY = "No models are shipped here."


def overview(cards: Sequence[ModelCard]) -> Table:
    """A line for each model: size, work, delay, and its scores as it ships, int8 where it is."""
    sets = sorted({quality.test_set for card in cards for quality in card.quality[:1]})
    title = "Shipped models" + (f"; scores on {', '.join(sets)}" if sets else "")
    table = Table(title=title, caption_justify="left")
    table.add_column("name", no_wrap=True)
    for head in ("parameters", "MMAC/s", "delay", "bytes"):
        table.add_column(head, justify="right", no_wrap=head != "delay")
    for head in ("PESQ", "STOI", "SI-SDR"):
        table.add_column(head, justify="right", no_wrap=True)
    for card in cards:
        shipped = next(iter(card.artefacts), None)
        table.add_row(
            card.name,
            f"{card.parameters:,}",
            f"{card.macs_per_second / 1e6:.1f}",
            delay(card),
            f"{shipped.model.bytes:,}" if shipped else UNKNOWN,
            *_scores(_row(card)),
        )
    table.caption = "As int8, the teacher as float. More: sordino models card NAME"
    return table


def _row(card: ModelCard) -> QualityRow | None:
    if not card.quality:
        return None
    return card.quality[0].row("int8") or card.quality[0].row("float")


def _scores(row: QualityRow | None) -> tuple[str, str, str]:
    if row is None:
        return (UNKNOWN, UNKNOWN, UNKNOWN)
    return number(row.pesq_wb, 3), number(row.stoi, 3), number(row.si_sdr, 2)
